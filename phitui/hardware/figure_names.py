"""What the figures of a snapshot are called where a person reads of them: words, with the unit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

_WORDS = {
    "util_pct": "utilization (%)",
    "memory_busy_pct": "memory busy (%)",
    "vram.total_bytes": "memory in all (GiB)",
    "vram.used_bytes": "memory used (GiB)",
    "vram.reserved_bytes": "the driver's reserve of memory (GiB)",
    "vram.free_bytes": "memory free (GiB)",
    "power_w": "power (W)",
    "power_limit_w": "power limit (W)",
    "power_instant_w": "power at this moment (W)",
    "temperature_c": "temperature (°C)",
    "memory_temperature_c": "temperature of the memory (°C)",
    "sm_clock_mhz": "SM clock (MHz)",
    "sm_clock_max_mhz": "highest SM clock (MHz)",
    "mem_clock_mhz": "memory clock (MHz)",
    "mem_clock_max_mhz": "highest memory clock (MHz)",
    "bus_width_bits": "width of the memory bus (bits)",
    "fan_pct": "fan (%)",
    "throttle_reasons": "what limits the clocks",
    "bandwidth.value_gb_s": "memory bandwidth (GB/s)",
    "bandwidth.peak_gb_s": "peak memory bandwidth (GB/s)",
    "bandwidth.source": "source of the memory bandwidth",
    "sm_active_pct": "SM active (%)",
    "tensor_active_pct": "tensor cores active (%)",
    "energy_j": "energy (kWh)",
    "link.generation": "PCIe generation",
    "link.generation_max": "highest PCIe generation",
    "link.width": "PCIe lanes",
    "link.width_max": "most PCIe lanes",
    "link.tx_gb_s": "PCIe traffic up (GB/s)",
    "link.rx_gb_s": "PCIe traffic down (GB/s)",
    "processes": "processes",
    "uuid": "unique id",
    "gpu": "GPU",
    "driver": "driver version",
    "cuda": "CUDA version",
    "receiver": "last reading",
}


def in_words(figure: str) -> str:
    """A figure of a device or a snapshot by its name. One that is not known, as in a recording, is outside text."""
    return _WORDS.get(figure, figure.replace("_", " ").replace(".", " "))


def by_reason(unavailable: Mapping[str, str]) -> Iterable[tuple[str, list[str]]]:
    """Each reason with all that it is the reason of, in words."""
    found: dict[str, list[str]] = {}
    for figure, why in unavailable.items():
        found.setdefault(why, []).append(in_words(figure))
    return found.items()
