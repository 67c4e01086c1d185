"""What the operating system knows of a process: name, user, command, CPU share, memory, start."""

from __future__ import annotations

import heapq
import os
import time
from pathlib import Path
from typing import Any, NamedTuple

from phitui.hardware.figures import WAITING, Missing, Sheet, clean
from phitui.hardware.host.system import attempt, psutil
from phitui.hardware.snapshot import Process

# The kernel's first PID namespace has this number (PROC_PID_INIT_INO in linux/proc_ns.h).
_FIRST_PID_NAMESPACE = 0xEFFFFFFC
_MOST_LISTED = 50
_LONGEST_COMMAND = 512
# CPU time is counted in ticks of 10 ms; and two devices may ask for one process in one reading.
_SHORTEST_WINDOW_S = 0.25
# Processes are read seldom; but a share is a difference, so the second reading comes soon after the first.
PERIOD_S = 5.0
SECOND_READING_S = 0.3
_FORGET_S = 30.0
_UNKNOWN = "no such process here: it has ended, or belongs to another PID namespace"


class _Facts(NamedTuple):
    """Answers, each of them a value or Missing."""

    name: Any
    user: Any
    command: Any
    cpu_pct: Any
    rss_bytes: Any
    started: Any


class _Stat(NamedTuple):
    """From /proc/PID/stat: when the process started, and its CPU time so far, in the kernel's ticks."""

    start: int
    cpu: int


class _Known:
    """A process that was asked for, and what stays the same of it."""

    def __init__(self, pid: int, stat: _Stat) -> None:
        process = psutil().Process(pid)
        with process.oneshot():
            self.started = process.create_time()
            self.name = attempt(process.name)
            self.user = attempt(process.username)
            self.command = attempt(lambda: " ".join(process.cmdline()) or process.name())
        self.stat = stat
        self.cpu_pct: Any = WAITING
        self.measured_at = time.monotonic()
        self.asked_at = 0.0

    def facts(self, stat: _Stat, pages: int) -> _Facts:
        """`stat` and `pages` are the newest readings."""
        elapsed_s = time.monotonic() - self.measured_at
        if elapsed_s >= _SHORTEST_WINDOW_S:
            used_s = (stat.cpu - self.stat.cpu) / os.sysconf("SC_CLK_TCK")
            self.cpu_pct = 100 * max(0.0, used_s) / elapsed_s
            self.stat, self.measured_at = stat, self.measured_at + elapsed_s
        rss = pages * os.sysconf("SC_PAGE_SIZE")
        return _Facts(self.name, self.user, self.command, self.cpu_pct, rss, self.started)


class ProcessTable:
    """Keeps what was asked of each process, so that names and commands are read once. For one thread.

    Known again by process id and start time together: an id that is used anew is another process.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self._known: dict[int, _Known] = {}
        self._in_container = _pid_namespace(root) not in (None, _FIRST_PID_NAMESPACE)
        self._root = root

    def of_driver(self, pid: int, kind: str, used: Any, util: Any, now: float) -> Process:
        """A process that the driver names: `used` bytes and `util` percent are its answers.

        In a container the driver's ids may be those of the host, where another process bears them: there a process
        is named only when it holds an NVIDIA device open.
        """
        facts: _Facts | Missing
        if self._in_container and not _holds_nvidia(self._root / f"proc/{pid}/fd"):
            facts = Missing("in a container the driver's process ids are those of another PID namespace")
        else:
            facts = self._facts(pid, now)
        return _process(pid, kind, used, util, facts)

    def largest(self, now: float) -> list[Process]:
        """The processes of this machine with the most resident memory, the largest first.

        What is resident stands for the share of the device's memory too: on a CPU that is the RAM.
        """
        sizes = ((_resident_pages(self._root / f"proc/{pid}/statm"), pid) for pid in psutil().pids())
        largest = heapq.nlargest(_MOST_LISTED, (size for size in sizes if size[0] > 0))
        shown = []
        for _, pid in largest:
            facts = self._facts(pid, now)
            if not isinstance(facts, Missing):
                shown.append(_process(pid, "C", facts.rss_bytes, _of_all_cores(facts.cpu_pct), facts))
        self.forget(now)
        return sorted(shown, key=lambda process: -(process.used_bytes or 0))

    def forget(self, now: float) -> None:
        """Drop the entries that have not been asked for lately."""
        self._known = {pid: known for pid, known in self._known.items() if now - known.asked_at < _FORGET_S}

    def _facts(self, pid: int, now: float) -> _Facts | Missing:
        folder = self._root / f"proc/{pid}"
        stat = _stat(folder / "stat")
        if stat is None:
            self._known.pop(pid, None)
            return Missing(_UNKNOWN)
        try:
            known = self._known.get(pid)
            if known is None or known.stat.start != stat.start:
                known = self._known[pid] = _Known(pid, stat)
            known.asked_at = now
            return known.facts(stat, _resident_pages(folder / "statm"))
        except Exception as error:  # noqa: BLE001 - a process that cannot be read is a row without a name
            return Missing(clean(f"{type(error).__name__}: {error}"))


def _process(pid: int, kind: str, used: Any, util: Any, facts: _Facts | Missing) -> Process:
    sheet = Sheet()
    name, user, command, cpu_pct, rss, started = (facts,) * 6 if isinstance(facts, Missing) else facts
    return Process(
        pid=pid,
        kind=kind,
        used_bytes=sheet.whole("used_bytes", used, bounds="process.used_bytes"),
        util_pct=sheet.real("util_pct", util, bounds="process.util_pct"),
        name=sheet.text("name", name),
        user=sheet.text("user", user),
        command=sheet.text("command", command, _LONGEST_COMMAND),
        cpu_pct=sheet.real("cpu_pct", cpu_pct, bounds="process.cpu_pct"),
        rss_bytes=sheet.whole("rss_bytes", rss, bounds="process.rss_bytes"),
        started=sheet.real("started", started, bounds="process.started"),
        unavailable=sheet.unavailable,
    )


def _of_all_cores(cpu_pct: Any) -> Any:
    return cpu_pct if isinstance(cpu_pct, Missing) else min(100.0, cpu_pct / (os.cpu_count() or 1))


def _stat(file: Path) -> _Stat | None:
    """None where there is no such process. Read by hand: for 50 processes psutil takes 15 ms, this 1."""
    try:
        fields = file.read_bytes().rpartition(b")")[2].split()  # the name before it may hold anything
        return _Stat(int(fields[19]), int(fields[11]) + int(fields[12]))
    except (OSError, ValueError, IndexError):
        return None


def _resident_pages(statm: Path) -> int:
    """Resident memory in pages; 0 where the process has ended, and for the kernel's own threads."""
    try:
        return int(statm.read_bytes().split()[1])
    except (OSError, ValueError, IndexError):
        return 0


def _pid_namespace(root: Path) -> int | None:
    try:
        return (root / "proc/self/ns/pid").stat().st_ino
    except OSError:
        return None


def _holds_nvidia(descriptors: Path) -> bool:
    try:
        return any(str(link.readlink()).startswith("/dev/nvidia") for link in descriptors.iterdir())
    except OSError:
        return False
