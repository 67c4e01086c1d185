"""Takes a snapshot at every interval, in threads of its own: whoever shows it never waits for a driver."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from phitui.hardware.figures import Missing, clean
from phitui.hardware.snapshot import HOST_FIGURES, Device, Host, OtherHost, Reading, Snapshot

# cpu and nvml come with their libraries, only when the threads run: the console's start has no time for them.
if TYPE_CHECKING:
    from phitui.hardware.host.cpu import HostReader
    from phitui.hardware.nvml.gpus import Gpus

# A start of NVML takes some milliseconds, and seconds where no program keeps the driver awake.
_FIRST_WAIT_S = 0.5
# NVML's performance counters need two readings more than 0.1 s apart.
_SHORTEST_DIFFERENCE_S = 0.11
# A question that is open for so long has no answer: the figures of the one before are shown no more.
_SILENT_S = 2.0
_STOP_PATIENCE_S = 0.15


class Sampler:
    """Calls `on_snapshot` with a fresh Snapshot every `interval_s` seconds, from a thread of its own.

    A receiver that belongs to a user interface must hand the snapshot on without waiting for it. What it
    raises is noted in the next snapshot's `unavailable["receiver"]`. `processes` gives the names and ids of
    own processes whose memory is to be read, in the sampler's thread; `others` gives what is known of other machines,
    and must not wait for them. The first snapshot waits `first_wait_s` for the driver. A stopped sampler stays
    stopped.
    """

    def __init__(
        self,
        interval_s: float,
        on_snapshot: Callable[[Snapshot], None],
        processes: Callable[[], Mapping[str, int]] = dict,
        others: Callable[[], list[OtherHost]] = list,
        first_wait_s: float = _FIRST_WAIT_S,
    ) -> None:
        if not 0 < interval_s < float("inf"):
            raise ValueError(f"the interval must be a positive number of seconds, not {interval_s}")
        self._interval_s = interval_s
        self._on_snapshot = on_snapshot
        self._processes = processes
        self._others = others
        self._first_patience_s = first_wait_s
        self._stopping = threading.Event()
        self._gpus = _GpuAnswers()
        self._receiver_error = ""
        self._thread = threading.Thread(target=self._run, name="phitui-sampler", daemon=True)

    def start(self) -> None:
        """Begin. Raises RuntimeError the second time."""
        self._thread.start()
        self._gpus.start()

    def stop(self) -> None:
        """End, within 0.2 s: a thread that hangs in the driver is left behind and ends with the process."""
        self._stopping.set()
        self._gpus.stop()
        deadline = time.monotonic() + _STOP_PATIENCE_S
        for thread in (self._thread, self._gpus.thread):
            if thread.is_alive() and thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))

    def _run(self) -> None:
        host = _HostAnswers(self._processes)
        due = time.monotonic()
        longest_s = self._first_patience_s
        while not self._stopping.is_set():
            self._gpus.ask()
            self._tick(host, longest_s)
            longest_s = min(self._interval_s / 4, _SILENT_S)
            now = time.monotonic()
            due += self._interval_s
            if due < now:  # late: go on from here, without a burst to catch up
                due = now + self._interval_s
            self._stopping.wait(due - now)

    def _tick(self, host: _HostAnswers, longest_s: float) -> None:
        figures = host.read(self._stopping)  # at the first time it takes 0.1 s, while the driver starts
        reading = self._gpus.answer(longest_s)
        if self._stopping.is_set():
            return
        unavailable = {**reading.unavailable, **({"gpu": reading.reason} if reading.reason else {})}
        if self._receiver_error:
            unavailable["receiver"] = self._receiver_error
        devices = reading.devices or host.devices(figures)
        try:
            others = self._others()
            self._on_snapshot(
                Snapshot(time.time(), figures, devices, unavailable, reading.driver, reading.cuda, others)
            )
            self._receiver_error = ""
        except Exception as error:  # noqa: BLE001 - the receiver's fault must not stop the gauges
            self._receiver_error = _said(error)


class _HostAnswers:
    """The machine's figures; a failure of the reader becomes a reason. Belongs to one thread."""

    def __init__(self, processes: Callable[[], Mapping[str, int]]) -> None:
        self._processes = processes
        self._reader: HostReader | None = None

    def read(self, stopping: threading.Event) -> Host:
        try:
            from phitui.hardware.host.cpu import SHORTEST_CPU_WINDOW_S, HostReader

            if self._reader is None:
                self._reader = HostReader(self._processes)
                self._reader.prime(time.monotonic())
                stopping.wait(SHORTEST_CPU_WINDOW_S)
            return self._reader.read(time.monotonic())
        except Exception as error:  # noqa: BLE001 - it becomes the reason
            return Host(unavailable=dict.fromkeys(HOST_FIGURES, _said(error)))

    def devices(self, host: Host) -> list[Device]:
        try:
            from phitui.hardware.host.cpu import cpu_device

            largest = self._reader.largest(time.monotonic()) if self._reader else Missing("not read yet")
            return [cpu_device(host, largest)]
        except Exception as error:  # noqa: BLE001 - it becomes the reason
            return [Device("cpu", 0, "CPU").without_figures(_said(error))]


class _GpuAnswers:
    """Reads the driver in a thread of its own, and tells whoever asks the newest answer or its absence."""

    def __init__(self) -> None:
        self.thread = threading.Thread(target=self._run, name="phitui-nvml", daemon=True)
        self._changed = threading.Condition()
        self._asked_at: float | None = None
        self._reading: Reading | None = None
        self._stopping = False

    def start(self) -> None:
        self.thread.start()

    def stop(self) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def ask(self) -> None:
        """Want a reading. One that is still under way is not asked for twice."""
        with self._changed:
            if self._asked_at is None:
                self._asked_at = time.monotonic()
                self._changed.notify_all()

    def answer(self, wait_s: float) -> Reading:
        """The reading that was asked for; after `wait_s` the one before, while the question is not open for long.
        How old that reading is depends on the interval, and says nothing of the driver."""
        with self._changed:
            self._changed.wait_for(lambda: self._asked_at is None or self._stopping, wait_s)
            silent_s = 0.0 if self._asked_at is None else time.monotonic() - self._asked_at
            if self._reading and silent_s < _SILENT_S:
                return self._reading
        return self._failed(f"the driver has not answered for {silent_s:.{0 if silent_s >= 10 else 1}f} s")

    def _run(self) -> None:
        gpus: Gpus | None = None
        while self._wait_for_question():
            try:
                from phitui.hardware.nvml.gpus import Gpus

                if gpus is None:
                    gpus = Gpus()
                    reading = self._first(gpus)
                else:
                    reading = gpus.read(time.monotonic())
            except Exception as error:  # noqa: BLE001 - it becomes the reason
                reading = self._failed(_said(error))
            with self._changed:
                self._reading = reading
                self._asked_at = None
                self._changed.notify_all()
        if gpus is not None:
            gpus.close()

    def _first(self, gpus: Gpus) -> Reading:
        """Two readings, so that what is a difference is known from the start."""
        reading = gpus.read(time.monotonic())
        if reading.devices:
            with self._changed:
                self._changed.wait_for(lambda: self._stopping, _SHORTEST_DIFFERENCE_S)
            reading = gpus.read(time.monotonic())
        return reading

    def _wait_for_question(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._asked_at is not None or self._stopping)
            return not self._stopping

    def _failed(self, reason: str) -> Reading:
        before = self._reading or Reading([])
        devices = [device.without_figures(reason) for device in before.devices]
        return Reading(devices, reason, before.driver, before.cuda, before.unavailable)


def _said(error: Exception) -> str:
    return clean(f"{type(error).__name__}: {error}", 200)
