"""`phitui monitor`: the monitor screen alone, without an engine."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextvars import copy_context

from textual.app import SystemCommand
from textual.screen import Screen

from phitui.config.layers import Config
from phitui.hardware.feed import SnapshotFeed
from phitui.hardware.history import History
from phitui.hardware.snapshot import Snapshot
from phitui.tui.app.base_app import BaseApp
from phitui.tui.screens.monitor import MonitorScreen


class MonitorApp(BaseApp):
    """Takes its snapshots from `feed`, whose sampler runs already. `trouble` is a line to show beside the clock."""

    def __init__(
        self, config: Config, feed: SnapshotFeed, *, readonly: bool, ascii_only: bool, trouble: Callable[[], str] = str
    ) -> None:
        super().__init__(config)
        self._feed = feed
        self._history = History()
        self._trouble = trouble
        self.monitor = MonitorScreen(self._history, os.uname().nodename, readonly=readonly, ascii_only=ascii_only)
        self.monitor.picture.limit = config.tuner.limit

    def get_default_screen(self) -> Screen[None]:
        return self.monitor

    def prepare(self) -> None:
        self._own_context = copy_context()  # the sampler's thread knows no app
        # Those that are there already go into the first frame.
        for snapshot in self._feed.listen(self._on_snapshot_thread):
            self._take(snapshot)

    def _on_snapshot_thread(self, snapshot: Snapshot) -> None:
        """Called from the sampler's thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._take, snapshot, context=self._own_context)

    def _take(self, snapshot: Snapshot) -> None:
        self._history.add(snapshot)
        if not self._leaving:
            self.monitor.picture.note = self._trouble()
            self.monitor.show_snapshot(snapshot)

    def system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        del screen
        return self.monitor.system_commands()
