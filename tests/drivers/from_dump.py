"""Turns what `phitui doctor --nvml --json` printed on a real card into a profile of the stand-in driver.

python tests/drivers/from_dump.py dump.json > tests/drivers/profiles/my_card.txt
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import standin

NOT_SUPPORTED = 3
NOT_FOUND = 6
# Keys of the stand-in by function, where the answer is one number or text.
SIMPLE = {
    "nvmlSystemGetDriverVersion": "driver_version",
    "nvmlSystemGetCudaDriverVersion": "cuda_version",
    "nvmlSystemGetCudaDriverVersion_v2": "cuda_version",
    "nvmlDeviceGetCount": "device_count",
    "nvmlDeviceGetName": "name",
    "nvmlDeviceGetUUID": "uuid",
    "nvmlDeviceGetMemoryBusWidth": "bus_width",
    "nvmlDeviceGetMaxPcieLinkGeneration": "pcie_gen_max",
    "nvmlDeviceGetMaxPcieLinkWidth": "pcie_width_max",
    "nvmlDeviceGetCurrPcieLinkGeneration": "pcie_gen",
    "nvmlDeviceGetCurrPcieLinkWidth": "pcie_width",
    "nvmlDeviceGetPowerUsage": "power_mw",
    "nvmlDeviceGetEnforcedPowerLimit": "power_limit_mw",
    "nvmlDeviceGetPowerManagementLimit": "power_limit_mw",
    "nvmlDeviceGetTemperatureV": "temperature",
    "nvmlDeviceGetTemperature": "temperature",
    "nvmlDeviceGetFanSpeed": "fan",
    "nvmlDeviceGetCurrentClocksEventReasons": "clock_reasons",
    "nvmlDeviceGetCurrentClocksThrottleReasons": "clock_reasons",
    "nvmlDeviceGetTotalEnergyConsumption": "energy_mj",
    "nvmlDeviceGetMaxMigDeviceCount": "mig_max",
}
CLOCKS = {1: "sm_clock", 2: "mem_clock"}
LISTS = {
    "nvmlDeviceGetComputeRunningProcesses": "processes.compute",
    "nvmlDeviceGetGraphicsRunningProcesses": "processes.graphics",
}


def profile(dump: dict[str, Any]) -> dict[str, str]:
    """The stand-in's state, from the last answer to each question; refusals other than "not supported" are kept."""
    state: dict[str, str] = {}
    for call in dump["calls"]:
        prefix = place(call["device"])
        if call["code"] == 0:
            state.update({prefix + key: text(value) for key, value in answers(call)})
        elif call["code"] not in (None, NOT_SUPPORTED, NOT_FOUND) and call["function"].startswith("nvmlDeviceGet"):
            state[f"{prefix}err.{exported(call)}"] = str(call["code"])
    return state


def exported(call: dict[str, Any]) -> str:
    """The library's name of the function: pynvml's differs where there is a second version."""
    second = call["function"] in ("nvmlDeviceGetCount", "nvmlDeviceGetHandleByIndex", "nvmlDeviceGetAttributes")
    second |= call["function"] == "nvmlDeviceGetMemoryInfo" and bool(call["arguments"])
    return call["function"] + ("_v2" if second else "")


def place(device: str) -> str:
    """ "GPU 0" is "0.", "GPU 0 MIG 2" is "0.mig2.", and the driver itself ""."""
    numbers = re.findall(r"\d+", device)
    return "".join(f"{'mig' if i else ''}{number}." for i, number in enumerate(numbers))


def text(value: Any) -> str:
    raw = str(value)
    return raw if raw.isascii() else standin.escaped(raw.encode())


def answers(call: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    function, arguments, value = call["function"], call["arguments"], call["value"]
    if function in SIMPLE:
        yield SIMPLE[function], value
    elif function == "nvmlDeviceGetCudaComputeCapability":
        yield from zip(("cc_major", "cc_minor"), value, strict=True)
    elif function == "nvmlDeviceGetMemoryInfo":
        yield from ((f"mem_{part}", value[part]) for part in memory_parts(value))
    elif function == "nvmlDeviceGetUtilizationRates":
        yield from (("util_gpu", value["gpu"]), ("util_mem", value["memory"]))
    elif function in ("nvmlDeviceGetClockInfo", "nvmlDeviceGetMaxClockInfo"):
        yield CLOCKS[arguments[0]] + ("_max" if "Max" in function else ""), value
    elif function == "nvmlDeviceGetMigMode":
        yield "mig_mode", value[0]
    elif function == "nvmlDeviceGetAttributes":
        keys = {"gpu_slices": "gpuInstance", "compute_slices": "computeInstance"}
        yield from ((key, value[f"{field}SliceCount"]) for key, field in keys.items())
        yield "memory_mb", value["memorySizeMB"]
    else:
        yield from structured(function, value)


def memory_parts(value: dict[str, int]) -> tuple[str, ...]:
    """Version 1 counts the reserve as used, and says nothing of it."""
    return ("total", "free", "used", "reserved") if "reserved" in value else ("total", "free", "used")


def structured(function: str, value: Any) -> Iterator[tuple[str, Any]]:
    if function == "nvmlDeviceGetFieldValues":
        for entry in value:
            if entry["nvmlReturn"] == 0:
                yield f"field.{entry['fieldId']}", entry["value"]
                yield f"field.{entry['fieldId']}.type", entry["valueType"]
            elif entry["nvmlReturn"] != NOT_SUPPORTED:
                yield f"field.{entry['fieldId']}.err", entry["nvmlReturn"]
    elif function == "nvmlGpmQueryDeviceSupport":
        yield "gpm", value["isSupportedDevice"]
    elif function == "nvmlGpmMetricsGet":
        for entry in value["metrics"]:
            key = f"gpm.{entry['metricId']}"
            yield (key, entry["value"]) if entry["nvmlReturn"] == 0 else (f"{key}.err", entry["nvmlReturn"])
    elif function == "nvmlDeviceGetProcessUtilization":
        yield "process_util", " ".join(f"{one['pid']}:{one['smUtil']}:{one['timeStamp']}" for one in value)
    elif function.rpartition("_v")[0] in LISTS:
        known = ("-" if one["usedGpuMemory"] is None else one["usedGpuMemory"] for one in value)
        shown = " ".join(f"{one['pid']}:{used}" for one, used in zip(value, known, strict=True))
        yield LISTS[function.rpartition("_v")[0]], shown


if __name__ == "__main__":
    dump = json.loads(Path(sys.argv[1]).read_text())
    print(f"# From a dump of nvidia-ml-py {dump['nvidia_ml_py']}.")
    print("\n".join(f"{key}={value}" for key, value in profile(dump).items()))
