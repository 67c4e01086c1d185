"""Reads the hardware while a screen shows it, and joins its readings with the engine's figures."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import copy_context

from phitui.config.layers import Config
from phitui.engine.protocol.api import Event
from phitui.hardware.history import History
from phitui.hardware.sampler import Sampler
from phitui.hardware.snapshot import Snapshot
from phitui.workbench.engines import Engines
from phitui.workbench.telemetry.calibrator import Calibrator
from phitui.workbench.telemetry.hosts import HostWatch
from phitui.workbench.telemetry.performance import ENGINE, DeviceView, Performance, with_traffic
from phitui.workbench.telemetry.server_watch import ServerWatch


class Telemetry:
    """`pid` gives the process that computes, from any thread; `tell` hears on the event loop of new readings, and what
    they mean together with the engine's figures."""

    def __init__(
        self,
        engine: Engines,
        config: Config,
        pid: Callable[[], int | None],
        tell: Callable[[Snapshot, list[DeviceView]], None],
    ) -> None:
        self._pid, self._tell = pid, tell
        self._loop: asyncio.AbstractEventLoop | None = None
        self._context = copy_context()
        self.history = History()
        self.views: list[DeviceView] = []  # of the newest readings
        self.performance = Performance(config.tuner.limit, pid)
        self.server = ServerWatch(engine, config.hardware.interval_s)
        self._calibrator = Calibrator(self.performance)
        self._hosts = HostWatch(config.hosts)
        self._sampler = Sampler(config.hardware.interval_s, self._on_thread, self._processes, self._hosts.latest)

    def start(self) -> None:
        """Begin to read. Readings are told in the caller's context: Textual finds the app of a widget that is being
        mounted in it, and the sampler's thread has none."""
        self._loop, self._context = asyncio.get_running_loop(), copy_context()
        self._sampler.start()
        self._hosts.start()
        self.server.start()

    async def stop(self) -> None:
        self._sampler.stop()
        self._hosts.stop()
        await self.server.stop()
        await self._calibrator.stop()

    def note_event(self, event: Event) -> None:
        """Take an event of the engine."""
        self.performance.note_event(event)
        self._calibrator.look()

    def take(self, snapshot: Snapshot) -> None:
        """New readings."""
        self.performance.note_snapshot(snapshot)
        self._calibrator.look()
        self.views = views = self.performance.views(snapshot)
        self.history.add(with_traffic(snapshot, views))
        self._tell(snapshot, views)

    def _processes(self) -> dict[str, int]:
        """Own processes whose memory is read. Called from the sampler's thread."""
        pid = self._pid()
        return {} if pid is None else {ENGINE: pid}

    def _on_thread(self, snapshot: Snapshot) -> None:
        """Called from the sampler's thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.take, snapshot, context=self._context)
