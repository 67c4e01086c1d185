"""What else goes on before a tuning: the machine's load, and on a card lowered clocks and other processes."""

from __future__ import annotations

import os
import queue
from collections.abc import Collection
from dataclasses import dataclass

from phitui.core.text import counted, one_line
from phitui.engine.worker.threads import usable_cores
from phitui.hardware.analysis.hints import HARMLESS
from phitui.hardware.sampler import Sampler
from phitui.hardware.snapshot import Process, Snapshot
from phitui.workbench.telemetry.performance import engine_device

_WAIT_S = 6.0
_ONCE_S = 60.0  # the sampler is stopped after its first reading
_MOST_NAMED = 3


@dataclass(frozen=True)
class Preflight:
    """`load1` is the load average of one minute before the engine was started, None where it is not known; `cores`
    are those that may be used. Of a card `throttle_reasons` are the driver's for clocks lower than they could be, and
    `others` the processes on it beside the engine; each None with its reason in `missing`. On a CPU both are None
    without a reason: there is no card."""

    load1: float | None
    cores: int
    throttle_reasons: list[str] | None = None
    others: list[Process] | None = None
    missing: str = ""
    on_card: bool = False

    @property
    def text(self) -> str:
        """All of it in a line."""
        load = "–" if self.load1 is None else f"{self.load1:.2f}"
        parts = [f"load average {load} on {counted(self.cores, 'core')}"]
        if self.on_card:
            parts += [self._clocks(), self._others()]
        return "before the first probe: " + "; ".join(parts)

    def _clocks(self) -> str:
        if self.throttle_reasons is None:
            return f"clocks: – ({self.missing})"
        lowered = ", ".join(one_line(reason, 40) for reason in self.throttle_reasons)
        return f"clocks lowered by the driver ({lowered})" if lowered else "clocks not lowered"

    def _others(self) -> str:
        if self.others is None:
            return f"others on the card: – ({self.missing})"
        named = [_named(process) for process in self.others[:_MOST_NAMED]]
        more = len(self.others) - len(named)
        if not named:
            return "no other process on the card"
        return f"also on the card: {', '.join(named)}" + (f" and {more} more" if more else "")


def preflight(load1: float | None, device: str, device_uuid: str, engine_pid: int | None) -> Preflight:
    """Look once, at "cpu" or "cuda". Waits for the driver, some seconds at most: not for the event loop. `load1` was
    read earlier: loading a model is work, too."""
    if device != "cuda":
        return Preflight(load1, usable_cores())
    snapshot = _look()
    card = None if snapshot is None else engine_device(snapshot, "cuda", engine_pid, device_uuid)
    if card is None:
        gpu = "the driver has not answered" if snapshot is None else snapshot.unavailable.get("gpu", "")
        return Preflight(load1, usable_cores(), missing=gpu or "the driver lists no such card", on_card=True)
    reasons = [card.unavailable[name] for name in ("throttle_reasons", "processes") if name in card.unavailable]
    return Preflight(
        load1=load1,
        cores=usable_cores(),
        throttle_reasons=None
        if card.throttle_reasons is None
        else [reason for reason in card.throttle_reasons if reason not in HARMLESS],
        others=None if card.processes is None else _beside(card.processes, {engine_pid, os.getpid()}),
        missing="; ".join(dict.fromkeys(reasons)),
        on_card=True,
    )


def _look() -> Snapshot | None:
    """One reading, None where there is none in time."""
    found: queue.SimpleQueue[Snapshot] = queue.SimpleQueue()
    sampler = Sampler(_ONCE_S, found.put)
    sampler.start()
    try:
        return found.get(timeout=_WAIT_S)
    except queue.Empty:
        return None
    finally:
        sampler.stop()


def _beside(processes: list[Process], ours: Collection[int | None]) -> list[Process]:
    """Those of others, the largest first."""
    others = [process for process in processes if process.pid not in ours]
    return sorted(others, key=lambda process: process.used_bytes or 0, reverse=True)


def _named(process: Process) -> str:
    held = "" if process.used_bytes is None else f" with {process.used_bytes / 2**30:.2f} GiB"
    return f"{one_line(process.name or 'a process', 40)} ({process.pid}){held}"
