"""What a remote engine says of its load, as the gauges word it."""

from __future__ import annotations

from phitui.engine.remote.window import LoadFigures
from phitui.tui.terminal.levels import Level
from phitui.tui.widgets.readings import NOTHING, GaugeReading, Group


def server_groups(figures: LoadFigures | None, title: str = "Engine") -> list[Group]:
    """One group, or none where no remote engine has told anything. Where nothing is known that is said once."""
    if figures is None:
        return []
    readings = [
        _requests(figures),
        _share("KV cache", "KV", figures.kv_use, figures.missing.get("kv_use", "")),
        _times("TTFT", figures.ttft_s, figures.missing.get("ttft", "")),
        _times("ITL", figures.itl_s, figures.missing.get("itl", "")),
        _share("Prefix hits", "", figures.prefix_share, figures.missing.get("prefix", "")),
        _rate(figures),
    ]
    reasons = {reading.reason for reading in readings}
    if len(reasons) == 1 and "" not in reasons:
        readings = [GaugeReading("Load", NOTHING, reason=readings[0].reason)]
    return [Group(title, readings, compact=True)]


def server_line(figures: LoadFigures | None) -> str:
    """The same on one line for the monitor; what is not known is "–"."""
    groups = server_groups(figures)
    return "   ".join(f"{reading.label} {reading.value}" for group in groups for reading in group.readings)


def _requests(figures: LoadFigures) -> GaugeReading:
    running, waiting = figures.running, figures.waiting
    if running is None:
        return GaugeReading("Requests", NOTHING, reason=figures.missing.get("running", ""))
    if waiting is None:
        return GaugeReading("Requests", f"{running} running, {NOTHING} wait", reason=figures.missing.get("waiting", ""))
    return GaugeReading("Requests", f"{running} running, {waiting} wait", brief=f"run {running} wait {waiting}")


def _share(label: str, brief: str, share: float | None, reason: str) -> GaugeReading:
    if share is None:
        return GaugeReading(label, NOTHING, reason=reason)
    level: Level = "bad" if share >= 0.95 and brief else "ok"
    short = f"{brief} {share:.0%}" if brief else ""
    return GaugeReading(label, f"{100 * share:.0f} %", share, level, brief=short)


def _times(label: str, seconds: tuple[float, float] | None, reason: str) -> GaugeReading:
    if seconds is None:
        return GaugeReading(label, NOTHING, reason=reason)
    half, most = (1000 * value for value in seconds)
    return GaugeReading(label, f"p50 {_ms(half)}, p90 {_ms(most)} ms")


def _ms(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"


def _rate(figures: LoadFigures) -> GaugeReading:
    if figures.tokens_per_s is None:
        return GaugeReading("Output", NOTHING, reason=figures.missing.get("rate", ""))
    value = f"{figures.tokens_per_s:.1f} tok/s"
    return GaugeReading("Output", value, brief=value)
