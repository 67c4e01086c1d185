"""From the driver's raw answers to a device's figures: every one within its bounds, or None with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from phitui.hardware.figures import WAITING, Missing, Sheet
from phitui.hardware.nvml.driver import Question
from phitui.hardware.snapshot import DEVICE_FIGURES, Bandwidth, Device, Link, Memory

_MEMORY_V2 = 0x02000028
# The first form counts the driver's reserve as used since R510.
MEMORY: tuple[Question, ...] = (("nvmlDeviceGetMemoryInfo", (_MEMORY_V2,)), ("nvmlDeviceGetMemoryInfo", ()))
# Answers that become several figures, or none by themselves.
_RAW = ("vram", "shares_ram", "dram_bw_pct")
ANSWERS = (*(name for name in DEVICE_FIGURES if not name.startswith(("vram.", "bandwidth."))), *_RAW)

# Bits of nvmlClocksEventReasons, by the names in nvml.h.
_CLOCK_REASON_BITS = {
    0x1: "GPU_IDLE",
    0x2: "APPLICATIONS_CLOCKS_SETTING",
    0x4: "SW_POWER_CAP",
    0x8: "HW_SLOWDOWN",
    0x10: "SYNC_BOOST",
    0x20: "SW_THERMAL_SLOWDOWN",
    0x40: "HW_THERMAL_SLOWDOWN",
    0x80: "HW_POWER_BRAKE_SLOWDOWN",
    0x100: "DISPLAY_CLOCK_SETTING",
    0x200: "BOARD_LIMIT",
    0x400: "RELIABILITY",
}


def device_of(identity: Device, answers: Mapping[str, Any]) -> Device:
    """The device that `identity` names, with the figures that `answers` hold for each name in ANSWERS.

    Powers are in mW, the energy in mJ, link rates in bytes per second, as the driver has them.
    """
    sheet = Sheet()
    sheet.unavailable.update(identity.unavailable)
    busy = sheet.real("memory_busy_pct", answers["memory_busy_pct"])
    clock = sheet.whole("mem_clock_max_mhz", answers["mem_clock_max_mhz"])
    width = sheet.whole("bus_width_bits", answers["bus_width_bits"])
    return Device(
        kind=identity.kind,
        index=identity.index,
        name=identity.name,
        uuid=identity.uuid,
        util_pct=sheet.real("util_pct", answers["util_pct"]),
        memory_busy_pct=busy,
        vram=memory_figures(sheet, answers["vram"]),
        power_w=sheet.real("power_w", answers["power_w"], 1000),
        power_limit_w=sheet.real("power_limit_w", answers["power_limit_w"], 1000),
        temperature_c=sheet.real("temperature_c", answers["temperature_c"]),
        sm_clock_mhz=sheet.whole("sm_clock_mhz", answers["sm_clock_mhz"]),
        mem_clock_mhz=sheet.whole("mem_clock_mhz", answers["mem_clock_mhz"]),
        fan_pct=sheet.real("fan_pct", answers["fan_pct"]),
        throttle_reasons=_clock_reasons(sheet, answers["throttle_reasons"]),
        bandwidth=_bandwidth(sheet, answers["dram_bw_pct"], busy, _peak_gb_s(sheet, clock, width)),
        sm_active_pct=sheet.real("sm_active_pct", answers["sm_active_pct"]),
        tensor_active_pct=sheet.real("tensor_active_pct", answers["tensor_active_pct"]),
        power_instant_w=sheet.real("power_instant_w", answers["power_instant_w"], 1000),
        energy_j=sheet.real("energy_j", answers["energy_j"], 1000),
        memory_temperature_c=sheet.real("memory_temperature_c", answers["memory_temperature_c"]),
        sm_clock_max_mhz=sheet.whole("sm_clock_max_mhz", answers["sm_clock_max_mhz"]),
        mem_clock_max_mhz=clock,
        bus_width_bits=width,
        link=_link(sheet, answers),
        mig=identity.mig,
        shares_ram=answers["shares_ram"],
        processes=_processes(sheet, answers["processes"]),
        unavailable=sheet.unavailable,
    )


def part(answer: Any, field: str) -> Any:
    """A field of a structure that the driver filled, or Missing as it is."""
    return answer if isinstance(answer, Missing) else getattr(answer, field, None)


def memory_figures(sheet: Sheet, answer: Any) -> Memory:
    """VRAM from either form of NVML's memory info; parts that cannot fit into the whole are not shown."""
    if isinstance(answer, Missing) and answer.code == 3:
        answer = Missing("the card reports no memory of its own: it may share the machine's RAM", 3)
    total = sheet.whole("vram.total_bytes", part(answer, "total"))
    used = sheet.whole("vram.used_bytes", part(answer, "used"))
    free = sheet.whole("vram.free_bytes", part(answer, "free"))
    reserved = None
    if isinstance(answer, Missing) or hasattr(answer, "reserved"):
        reserved = sheet.whole("vram.reserved_bytes", part(answer, "reserved"))
    else:
        sheet.missing("vram.reserved_bytes", "this driver does not report its reserve apart")
    if total is None or (used or 0) + (free or 0) + (reserved or 0) <= total:
        return Memory(total, used, reserved, free)
    for name in ("used", "reserved", "free"):
        sheet.unavailable.setdefault(f"vram.{name}_bytes", "the driver's figures add up to more than the total")
    return Memory(total)


def _peak_gb_s(sheet: Sheet, clock_mhz: int | None, width_bits: int | None) -> float | None:
    """Two transfers a clock over the whole bus, for GDDR6X, GDDR7 and HBM alike."""
    peak: Any
    if clock_mhz is None or width_bits is None:
        reason = sheet.unavailable.get("mem_clock_max_mhz") or sheet.unavailable.get("bus_width_bits", "")
        peak = Missing(reason)
    else:
        peak = clock_mhz * 2 * width_bits / 8 / 1000
    return sheet.real("bandwidth.peak_gb_s", peak)


def _bandwidth(sheet: Sheet, measured: Any, busy_pct: float | None, peak_gb_s: float | None) -> Bandwidth:
    """As the card measures it; else the share of time its memory was busy, which is an upper bound."""
    metric = "bandwidth.value_gb_s"
    if peak_gb_s is None:
        sheet.missing(metric, f"the card's peak is not known: {sheet.unavailable['bandwidth.peak_gb_s']}")
        return Bandwidth()
    if measured == WAITING:
        sheet.missing(metric, WAITING.reason)
        return Bandwidth(None, peak_gb_s)
    own = Sheet()
    measured_pct = own.real("dram_bw_pct", measured, bounds="util_pct")
    if measured_pct is not None:
        return Bandwidth(sheet.real(metric, measured_pct / 100 * peak_gb_s), peak_gb_s, "measured")
    if busy_pct is not None:
        return Bandwidth(sheet.real(metric, busy_pct / 100 * peak_gb_s), peak_gb_s, "busy")
    why = f"{own.unavailable['dram_bw_pct']}; memory busy: {sheet.unavailable['memory_busy_pct']}"
    sheet.missing(metric, f"not measured: {why}")
    return Bandwidth(None, peak_gb_s)


def _link(sheet: Sheet, answers: Mapping[str, Any]) -> Link:
    def whole(name: str) -> int | None:
        return sheet.whole(f"link.{name}", answers[f"link.{name}"])

    return Link(
        generation=whole("generation"),
        generation_max=whole("generation_max"),
        width=whole("width"),
        width_max=whole("width_max"),
        tx_gb_s=sheet.real("link.tx_gb_s", answers["link.tx_gb_s"], 1e9),
        rx_gb_s=sheet.real("link.rx_gb_s", answers["link.rx_gb_s"], 1e9),
    )


def _processes(sheet: Sheet, answer: Any) -> Any:
    if isinstance(answer, Missing):
        sheet.missing("processes", answer.reason)
        return None
    return answer


def _clock_reasons(sheet: Sheet, answer: Any) -> list[str] | None:
    if not isinstance(answer, int):
        reason = answer.reason if isinstance(answer, Missing) else "the answer is no set of bits"
        sheet.missing("throttle_reasons", reason)
        return None
    names = [name for bit, name in _CLOCK_REASON_BITS.items() if answer & bit]
    unknown = answer & ~sum(_CLOCK_REASON_BITS)
    return [*names, f"UNKNOWN_0x{unknown:x}"] if unknown else names


def cuda_version(sheet: Sheet, answer: Any) -> str | None:
    """The newest CUDA that the driver runs, as "12.4", from 1000 × major + 10 × minor."""
    if isinstance(answer, Missing):
        sheet.missing("cuda", answer.reason)
    elif isinstance(answer, int) and 1000 <= answer <= 99_999:
        return f"{answer // 1000}.{answer % 1000 // 10}"
    else:
        sheet.missing("cuda", f"the answer is out of range: {answer}")
    return None
