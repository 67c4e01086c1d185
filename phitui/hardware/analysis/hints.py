"""Why it is slow: rules from figures to a line with its evidence. Pure; each rule stands alone.

A rule says nothing where a figure that it needs is not known. docs/METRICS.md has the source of each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from phitui.hardware.analysis.hint_figures import Figures
from phitui.hardware.analysis.memory_parts import memory_name

Level = Literal["bad", "warn", "info"]

# Engines in print reach 46 to 82 % of peak at batch 1; at half the peak and more, memory is what a step waits for.
WEIGHT_BOUND_MBU = 0.5
# Below a third of the peak at a busy card and few rows, steps wait for kernels to be launched, not for memory.
LAUNCH_BOUND_MBU = 0.33
LAUNCH_BOUND_UTIL_PCT = 90.0
# From here on a step's arithmetic may be the limit: a tensor core's ridge lies beyond 100 int8 products a byte, but
# small batches are padded to 16 rows, so more of them is more work.
FEW_ROWS = 16
# A further row is nearly free while its cache adds less than this to a step's traffic.
FREE_ROW = 0.05
# Rules about decode need decode: most of the engine's time.
MOSTLY = 0.5
# Driver figures are rounded means over up to 1 s: above this a card counts as working.
BUSY_UTIL_PCT = 50.0
# Time that the card waits for the engine to be asked, as a share of the last minute.
IDLE_SHARE = 0.5
# A tenth of the time is worth a line.
TOKENIZE_SHARE = 0.1
# Others' memory is worth a line from a tenth of the card.
OTHERS_SHARE = 0.1
# Half as many runnable threads again as there are cores: each waits a third of its time.
CROWDED = 1.5
# The allocator's own bookkeeping beside the weights when they move to host memory.
PARKING_MARGIN = 1.1

_POWER = ("SW_POWER_CAP", "HW_POWER_BRAKE_SLOWDOWN")
_THERMAL = ("SW_THERMAL_SLOWDOWN", "HW_THERMAL_SLOWDOWN")
# The driver's names for clocks that nothing holds back against the user's will.
HARMLESS = frozenset({"GPU_IDLE", "APPLICATIONS_CLOCKS_SETTING", "SYNC_BOOST", "DISPLAY_CLOCK_SETTING"})
_GIB = 1024**3


class Hint(msgspec.Struct, frozen=True):
    """What holds the work up, in one line, and the figures it is read from. `rule` names the rule."""

    rule: str
    level: Level
    text: str
    evidence: str

    def __str__(self) -> str:
        return f"{self.text} ({self.evidence})" if self.evidence else self.text


Rule = Callable[[Figures], "Hint | None"]


def hints(figures: Figures) -> list[Hint]:
    """All that can be said, the most important first."""
    said = [hint for rule in RULES if (hint := rule(figures)) is not None]
    return sorted(said, key=lambda hint: ("bad", "warn", "info").index(hint.level))


def thermal(figures: Figures) -> Hint | None:
    """The driver lowers the clocks because of heat."""
    reason = _first(figures, _THERMAL)
    if not reason:
        return None
    degrees = "" if figures.temperature_c is None else f"{figures.temperature_c:.0f} °C"
    return Hint("thermal", "bad", f"too hot: clocks lowered (driver: {reason})", _joined(degrees, _clocks(figures)))


def power_capped(figures: Figures) -> Hint | None:
    """The driver lowers the clocks to stay within the power limit. That costs compute more than memory."""
    reason = _first(figures, _POWER)
    if not reason:
        return None
    watts = ""
    if figures.power_w is not None and figures.power_limit_w is not None:
        watts = f"{figures.power_w:.0f} of {figures.power_limit_w:.0f} W"
    return Hint("power-capped", "warn", f"power-capped (driver: {reason})", _joined(watts, _clocks(figures)))


def hardware_slowdown(figures: Figures) -> Hint | None:
    """The hardware itself lowers the clocks, and the driver names neither heat nor power."""
    if "HW_SLOWDOWN" not in figures.throttle_reasons or _first(figures, _THERMAL + _POWER):
        return None
    return Hint("slowdown", "bad", "clocks lowered by the hardware (driver: HW_SLOWDOWN)", _clocks(figures))


def memory_full(figures: Figures) -> Hint | None:
    """Device memory is used beyond the limit."""
    used, usable = figures.vram_used_bytes, figures.vram_usable_bytes
    if used is None or not usable or used < figures.limit * usable:
        return None
    text = f"{memory_name(figures.on_gpu, figures.shares_ram)} is nearly full"
    if _others_hold_much(figures):
        text += f": others hold {_others(figures)}"
    return Hint("memory-full", "warn", text, _filled(used, usable))


def others_memory(figures: Figures) -> Hint | None:
    """Others have a good part of the card's memory, and there is room yet."""
    used, usable = figures.vram_used_bytes, figures.vram_usable_bytes
    if used is None or not usable or not figures.on_gpu or not _others_hold_much(figures):
        return None
    if used >= figures.limit * usable:
        return None
    text = f"others hold {memory_name(True, figures.shares_ram)}: {_others(figures)}"
    return Hint("memory-others", "info", text, _filled(used, usable))


def weight_bound(figures: Figures) -> Hint | None:
    """Decode runs near the memory's peak, and most of what it reads is weights, which all rows share."""
    if figures.mbu is None or figures.mbu < WEIGHT_BOUND_MBU or not _decodes(figures):
        return None
    weights, kv, moved = figures.weight_bytes, figures.kv_bytes, figures.engine_kv_bytes
    if weights is None or kv is None or moved is None or moved > weights or not figures.rows:
        return None
    more = moved / figures.rows / weights
    then = "a larger batch is nearly free" if more < FREE_ROW else f"one more row adds {more:.0%} of traffic"
    text = f"decode is weight-bound: {figures.mbu:.0%} of {figures.peak_name} at batch {figures.rows}; {then}"
    return Hint("weight-bound", "info", text, f"weights are {weights / (weights + kv):.0%} of what a step reads")


def kv_bound(figures: Figures) -> Hint | None:
    """The engine moves more KV cache than weights in a step, and all of it is near the memory's peak."""
    weights, moved, kv = figures.weight_bytes, figures.engine_kv_bytes, figures.kv_bytes
    if not _decodes(figures) or weights is None or moved is None or kv is None or moved <= weights:
        return None
    if figures.mbu is None or figures.mbu * (weights + moved) / (weights + kv) < WEIGHT_BOUND_MBU:
        return None  # by what the engine moves at most
    text = f"KV-bound at batch {figures.rows}: shorter contexts help, a larger batch hardly"
    return Hint("kv-bound", "info", text, f"{kv / _GIB:.1f} GiB of cache, {weights / _GIB:.1f} GiB of weights a step")


def launch_bound(figures: Figures) -> Hint | None:
    """A kernel always runs, few rows are computed, and yet memory is mostly idle: steps wait between kernels."""
    util, mbu, rows = figures.util_pct, figures.mbu, figures.rows
    if not figures.on_gpu or util is None or mbu is None or not rows or not _decodes(figures):
        return None
    if mbu > LAUNCH_BOUND_MBU or util < LAUNCH_BOUND_UTIL_PCT or rows > FEW_ROWS:
        return None
    if _first(figures, (*_THERMAL, *_POWER, "HW_SLOWDOWN")):
        return None
    text = f"launch-bound: {mbu:.0%} MBU, {util:.0f}% busy; a larger batch is nearly free"
    return Hint("launch-bound", "info", text, f"batch {rows}")


def cpu_bound(figures: Figures) -> Hint | None:
    """The engine's time goes into rendering and tokenizing, on one core of the CPU."""
    if figures.tokenize_share is None or figures.tokenize_share < TOKENIZE_SHARE:
        return None
    text = f"CPU-bound: tokenizing takes {figures.tokenize_share:.0%} of the time"
    return Hint("cpu-bound", "warn", text, "of the engine's last minute of work")


def queue_empty(figures: Figures) -> Hint | None:
    """The device waits for prompts."""
    if figures.idle_share is None or figures.idle_share < IDLE_SHARE or figures.queued:
        return None
    if figures.decode_share is not None:
        return None  # the first prompt after a pause: nothing waits any more
    if figures.util_pct is not None and figures.util_pct > BUSY_UTIL_PCT:
        return None  # somebody else's work
    what = "GPU" if figures.on_gpu else "engine"
    return Hint("queue-empty", "info", f"{what} idle {figures.idle_share:.0%}: queue empty", "of the last minute")


def link_narrow(figures: Figures) -> Hint | None:
    """The card has fewer PCIe lanes than it could: loading, parking and waking take that much longer. The generation
    counts only under load, for idle links save power at a lower one."""
    width, most = figures.link_width, figures.link_width_max
    if width is not None and most is not None and 0 < width < most:
        text = f"PCIe link at x{width} of x{most}"
        return Hint("link", "warn", text, "loading and waking a model take longer; check the slot")
    generation, newest = figures.link_generation, figures.link_generation_max
    busy = figures.util_pct is not None and figures.util_pct >= BUSY_UTIL_PCT
    if busy and generation is not None and newest is not None and 0 < generation < newest:
        text = f"PCIe link at generation {generation} of {newest}"
        return Hint("link", "info", text, f"at {figures.util_pct:.0f}% GPU util")
    return None


def cores_crowded(figures: Figures) -> Hint | None:
    """More threads want the CPU, on which the engine computes, than it has cores. Idle ones' input counts, too, so this
    is Linux's load average and no more."""
    if figures.on_gpu or figures.load1 is None or not figures.cores or figures.load1 < CROWDED * figures.cores:
        return None
    evidence = f"load {figures.load1:.1f} on {figures.cores} CPUs"
    return Hint("cores-crowded", "warn", "more programs want the CPU than it has cores", evidence)


def parking_room(figures: Figures) -> Hint | None:
    """Parking would move the weights into host memory that is not there."""
    weights, free = figures.parking_bytes, figures.host_available_bytes
    if not weights or free is None or free >= PARKING_MARGIN * weights:
        return None
    amount = f"{free / _GIB:.1f} GiB available, {weights / _GIB:.1f} GiB of weights"
    return Hint("parking-room", "info", "host RAM is short for parking", amount)


# Within a level the earlier comes first.
RULES: tuple[Rule, ...] = (
    thermal,
    hardware_slowdown,
    memory_full,
    power_capped,
    cpu_bound,
    cores_crowded,
    link_narrow,
    kv_bound,
    weight_bound,
    launch_bound,
    others_memory,
    queue_empty,
    parking_room,
)


def _decodes(figures: Figures) -> bool:
    return figures.decode_share is not None and figures.decode_share >= MOSTLY


def _first(figures: Figures, reasons: tuple[str, ...]) -> str:
    return next((reason for reason in reasons if reason in figures.throttle_reasons), "")


def _filled(used: int, usable: int) -> str:
    return f"{used / _GIB:.1f} of {usable / _GIB:.1f} GiB"


def _others_hold_much(figures: Figures) -> bool:
    others, usable = figures.others_bytes, figures.vram_usable_bytes
    return others is not None and usable is not None and others >= OTHERS_SHARE * usable


def _others(figures: Figures) -> str:
    who = f" ({figures.others_name})" if figures.others_name else ""
    return f"{(figures.others_bytes or 0) / _GIB:.1f} GiB{who}"


def _clocks(figures: Figures) -> str:
    if figures.sm_clock_mhz is None:
        return ""
    most = f" of {figures.sm_clock_max_mhz:.0f}" if figures.sm_clock_max_mhz is not None else ""
    return f"SM clock {figures.sm_clock_mhz:.0f}{most} MHz"


def _joined(*parts: str) -> str:
    return ", ".join(part for part in parts if part)
