"""What exporters send, in the form that their documentation has, with figures that a test can give."""

from __future__ import annotations


def dcgm(util: float = 41, used: int = 20_000, gpus: int = 1, more: str = "") -> bytes:
    """dcgm-exporter's text for `gpus` H100s, with the profiling fields."""
    lines = ["# HELP DCGM_FI_DEV_GPU_UTIL GPU utilization (in %).", "# TYPE DCGM_FI_DEV_GPU_UTIL gauge"]
    for gpu in range(gpus):
        labels = (
            f'gpu="{gpu}",UUID="GPU-0000-{gpu}",pci_bus_id="00000000:0{gpu}:00.0",device="nvidia{gpu}",'
            'modelName="NVIDIA H100 80GB HBM3",Hostname="node-a",DCGM_FI_DRIVER_VERSION="550.54.14"'
        )
        figures = {
            "DEV_GPU_UTIL": util,
            "DEV_MEM_COPY_UTIL": 17,
            "DEV_FB_USED": used,
            "DEV_FB_FREE": 80_000 - used,
            "DEV_FB_RESERVED": 559,
            "DEV_POWER_USAGE": 305.25,
            "DEV_GPU_TEMP": 55,
            "DEV_MEMORY_TEMP": 61,
            "DEV_SM_CLOCK": 1980,
            "DEV_MEM_CLOCK": 2619,
            "DEV_TOTAL_ENERGY_CONSUMPTION": 7_200_000_000,
            "PROF_PIPE_TENSOR_ACTIVE": 0.25,
            "PROF_DRAM_ACTIVE": 0.5,
            "PROF_PCIE_TX_BYTES": 2_000_000_000,
            "DEV_XID_ERRORS": 0,
        }
        lines += [f"DCGM_FI_{name}{{{labels}}} {value}" for name, value in figures.items()]
    return ("\n".join(lines) + "\n" + more).encode()


def nvitop(util: float = 12) -> bytes:
    """nvitop-exporter's text for an RTX 4090 and its host."""
    labels = '{hostname="10.0.0.7",index="0",devicename="NVIDIA GeForce RTX 4090",uuid="GPU-1111"}'
    host = '{hostname="10.0.0.7"}'
    return f"""# HELP gpu_utilization_Percentage GPU utilization (%).
# TYPE gpu_utilization_Percentage gauge
gpu_utilization_Percentage{labels} {util}
gpu_memory_utilization_Percentage{labels} 3.0
gpu_memory_total_MiB{labels} 24564.0
gpu_memory_used_MiB{labels} 1024.0
gpu_memory_free_MiB{labels} 23100.0
gpu_power_usage_W{labels} 61.5
gpu_power_limit_W{labels} 450.0
gpu_temperature_C{labels} 44.0
gpu_clock_sm_MHz{labels} 2520.0
gpu_clock_memory_MHz{labels} 10501.0
gpu_fan_speed_Percentage{labels} 30.0
gpu_pcie_tx_throughput_MiBps{labels} 1024.0
host_cpu_percent_Percentage{host} 7.5
host_virtual_memory_total_MiB{host} 65536.0
host_virtual_memory_used_MiB{host} 16384.0
host_load_average_1m_Percentage{host} 1.25
""".encode()


def node(busy: float, idle: float) -> bytes:
    """node_exporter's text for a machine of two cores, each with so many seconds."""
    cores = "".join(
        f'node_cpu_seconds_total{{cpu="{cpu}",mode="user"}} {busy}\n'
        f'node_cpu_seconds_total{{cpu="{cpu}",mode="idle"}} {idle}\n'
        f'node_cpu_seconds_total{{cpu="{cpu}",mode="iowait"}} 0\n'
        for cpu in (0, 1)
    )
    return (
        "# TYPE node_cpu_seconds_total counter\n"
        + cores
        + "node_load1 0.42\nnode_memory_MemTotal_bytes 1.7179869184e+10\n"
        + "node_memory_MemAvailable_bytes 1.2884901888e+10\n"
        + 'go_gc_duration_seconds{quantile="0"} 2.3e-05\nnode_boot_time_seconds 1.7e+09\n'
    ).encode()
