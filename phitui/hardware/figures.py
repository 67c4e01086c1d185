"""One way for a figure to come in: a number within its bounds, or None with the reason written down."""

from __future__ import annotations

import math
from typing import NamedTuple


def short_name(card: str) -> str:
    """What tells cards apart: "NVIDIA GeForce RTX 4090" is "RTX 4090"."""
    return card.removeprefix("NVIDIA ").removeprefix("GeForce ") or card


class Missing(NamedTuple):
    """Why a figure is not available. `code` is NVML's return code, where there was one."""

    reason: str
    code: int = -1


class Bounds(NamedTuple):
    """What a figure can be; anything else is garbage. `above` excludes the lower bound itself."""

    low: float
    high: float
    unit: str
    above: bool = False


_PERCENT = Bounds(0, 100, "%")
_CLOCK = Bounds(0, 50_000, "MHz", above=True)  # GDDR7 stands at 14 001
_POWER = Bounds(0, 5_000, "W", above=True)  # the largest boards draw below 3 kW; all ones is 4.3 MW
_BYTES = Bounds(0, 1 << 50, "B")
_TEMPERATURE = Bounds(-40, 130, "°C")
_BANDWIDTH = Bounds(0, 100_000, "GB/s")  # a B200 moves 8000
_LINK_RATE = Bounds(0, 1_000, "GB/s")  # 16 lanes of PCIe 7.0 move 242
_GENERATION = Bounds(1, 10, "")
_LANES = Bounds(1, 64, "lanes")

BOUNDS = {
    "util_pct": _PERCENT,
    "memory_busy_pct": _PERCENT,
    "fan_pct": _PERCENT,
    "cpu_pct": _PERCENT,
    "cpus": Bounds(1, 1 << 20, "CPUs"),
    "load1": Bounds(0, 1e6, ""),
    "power_w": _POWER,
    "power_limit_w": _POWER,
    "temperature_c": _TEMPERATURE,
    "sm_clock_mhz": _CLOCK,
    "mem_clock_mhz": _CLOCK,
    "vram.total_bytes": Bounds(0, 1 << 50, "B", above=True),
    "vram.used_bytes": _BYTES,
    "vram.reserved_bytes": _BYTES,
    "vram.free_bytes": _BYTES,
    "ram_total_bytes": Bounds(0, 1 << 50, "B", above=True),
    "ram_used_bytes": _BYTES,
    "ram_available_bytes": _BYTES,
    "rss_bytes": _BYTES,
    "cpu_quota": Bounds(0, 1 << 20, "CPUs", above=True),
    "bandwidth.value_gb_s": _BANDWIDTH,
    "bandwidth.peak_gb_s": Bounds(0, 100_000, "GB/s", above=True),
    "sm_active_pct": _PERCENT,
    "tensor_active_pct": _PERCENT,
    "power_instant_w": _POWER,
    "energy_j": Bounds(0, 1e12, "J"),  # 5 kW for 6 years
    "memory_temperature_c": Bounds(0, 130, "°C", above=True),  # cards without the sensor may answer 0
    "sm_clock_max_mhz": _CLOCK,
    "mem_clock_max_mhz": _CLOCK,
    "bus_width_bits": Bounds(0, 65_536, "bits", above=True),  # HBM stacks have 1024 each, HBM4 2048
    "link.generation": _GENERATION,
    "link.generation_max": _GENERATION,
    "link.width": _LANES,
    "link.width_max": _LANES,
    "link.tx_gb_s": _LINK_RATE,
    "link.rx_gb_s": _LINK_RATE,
    "process.used_bytes": _BYTES,
    "process.util_pct": _PERCENT,
    "process.cpu_pct": Bounds(0, 1e6, "%"),  # 100 for each core
    "process.rss_bytes": _BYTES,
    "process.started": Bounds(0, 1e11, "s", above=True),
}
# The reason of whatever is a difference, at the first reading.
WAITING = Missing("known from the second reading on")


def same_uuid(told: str | None, wanted: str) -> bool:
    """Whether the driver's UUID of a device ("GPU-…", of a slice "MIG-…") is `wanted`, which CUDA tells bare; "" is
    that of none."""
    return bool(told and wanted) and str(told).casefold().endswith(wanted.casefold())


def clean(text: str, limit: int = 96) -> str:
    """`text` from outside without control characters and marks that turn the line; at most `limit` long."""
    if not text.isprintable():
        text = "".join(c for c in text if c.isprintable())
    return text.strip()[:limit]


class Sheet:
    """Takes in answers one by one and keeps the reasons of those that are no figures."""

    def __init__(self) -> None:
        self.unavailable: dict[str, str] = {}

    def missing(self, metric: str, reason: str) -> None:
        self.unavailable[metric] = reason

    def real(self, metric: str, answer: object, divisor: float = 1.0, bounds: str = "") -> float | None:
        """`answer` / `divisor`, or None: Missing, no number, or out of BOUNDS[bounds or metric]."""
        if isinstance(answer, Missing):
            self.missing(metric, answer.reason)
            return None
        if isinstance(answer, bool) or not isinstance(answer, (int, float)) or not math.isfinite(answer):
            self.missing(metric, "the answer is no number")
            return None
        value, (low, high, unit, above) = answer / divisor, BOUNDS[bounds or metric]
        if not low <= value <= high or (above and value == low):
            self.missing(metric, f"the answer is out of range: {value:.15g} {unit}".rstrip())
            return None
        return value

    def whole(self, metric: str, answer: object, bounds: str = "") -> int | None:
        """As `real`, for what is counted: bytes, megahertz."""
        value = self.real(metric, answer, bounds=bounds)
        return None if value is None else int(value)

    def text(self, metric: str, answer: object, limit: int = 96) -> str | None:
        """`answer` as one clean line of at most `limit` characters, or None."""
        if isinstance(answer, Missing):
            self.missing(metric, answer.reason)
            return None
        line = clean(answer, limit) if isinstance(answer, str) else ""
        if not line:
            self.missing(metric, "the answer is empty")
        return line or None
