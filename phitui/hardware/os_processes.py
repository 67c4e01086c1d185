"""What the operating system knows of a process: name, user, command, CPU share, memory, start."""

from __future__ import annotations

import heapq
import os
from pathlib import Path
from typing import Any, NamedTuple

from phitui.hardware.figures import WAITING, Missing, Sheet, clean
from phitui.hardware.snapshot import Process
from phitui.hardware.system import attempt, psutil

# The kernel's first PID namespace has this number (PROC_PID_INIT_INO in linux/proc_ns.h).
_FIRST_PID_NAMESPACE = 0xEFFFFFFC
_MOST_LISTED = 50
_LONGEST_COMMAND = 512
# A share of CPU time over less than this is mostly rounding; two devices may ask for one process in one reading.
_FRESH_S = 1.0
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


class _Known:
    """A process that was asked for, and what stays the same of it."""

    def __init__(self, process: Any) -> None:
        self.process = process
        with process.oneshot():
            self.started = process.create_time()
            self.name = attempt(process.name)
            self.user = attempt(process.username)
            self.command = attempt(lambda: " ".join(process.cmdline()) or process.name())
        self.facts: _Facts | None = None
        self.at = 0.0

    def read(self, now: float) -> _Facts:
        if self.facts is None or now - self.at >= _FRESH_S:
            share = attempt(lambda: self.process.cpu_percent(None))  # since the call before; the first one is always 0
            cpu_pct = WAITING if self.facts is None else share
            rss = attempt(lambda: self.process.memory_info().rss)
            self.facts = _Facts(self.name, self.user, self.command, cpu_pct, rss, self.started)
            self.at = now
        return self.facts


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
        return shown

    def forget(self, now: float) -> None:
        """Drop what nobody has asked for in a while."""
        self._known = {pid: known for pid, known in self._known.items() if now - known.at < _FORGET_S}

    def _facts(self, pid: int, now: float) -> _Facts | Missing:
        library = psutil()
        try:
            known = self._known.get(pid)
            if known is None or not known.process.is_running():
                known = self._known[pid] = _Known(library.Process(pid))
            return known.read(now)
        except library.NoSuchProcess:
            self._known.pop(pid, None)
            return Missing(_UNKNOWN)
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
