"""What the cgroups around this process allow it, version 2 or 1: memory and CPU time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple


class CgroupLimit(NamedTuple):
    """A memory limit around this process, and how much of it cannot be had back without swapping."""

    limit_bytes: int
    used_bytes: int


def cgroup_limits(root: Path) -> Iterator[CgroupLimit]:
    """The memory limits of this process's cgroup and of all above it, innermost first."""
    for version, folder in _folders(root, "memory"):
        if version == 2:
            names = ("memory.max", "memory.current", "inactive_file")
        else:
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        limit = _number(folder / names[0])
        used = _number(folder / names[1])
        if limit is not None and used is not None:
            yield CgroupLimit(limit, max(0, used - _droppable(folder / "memory.stat", names[2])))


def cpu_quota(root: Path) -> float | None:
    """How many CPUs' time the tightest of the cgroups allows; None where none of them sets a limit."""
    quotas = [_quota(version, folder) for version, folder in _folders(root, "cpu")]
    return min((quota for quota in quotas if quota is not None), default=None)


def _quota(version: int, folder: Path) -> float | None:
    if version == 2:
        words = _text(folder / "cpu.max").split()  # "200000 100000", or "max 100000"
    else:
        words = [_text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us")]
    try:
        quota_us, period_us = (int(word) for word in words)
    except ValueError:
        return None
    return quota_us / period_us if quota_us > 0 and period_us > 0 else None


def _folders(root: Path, controller: str) -> Iterator[tuple[int, Path]]:
    """The version and the folder of each cgroup that limits this process by `controller`, innermost first."""
    base = root / "sys/fs/cgroup"
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controllers == "":
            version, mount = 2, base
        elif controller in controllers.split(","):
            version, mount = 1, base / controller
        else:
            continue
        # In a container the path may be the host's, not mounted here: the mount itself is then the cgroup.
        parts = [part for part in PurePosixPath(path).parts if part not in ("/", "..")]
        for depth in range(len(parts), -1, -1):
            yield version, mount.joinpath(*parts[:depth])


def _text(file: Path) -> str:
    try:
        return file.read_text().strip()
    except (OSError, ValueError):
        return ""


def _number(file: Path) -> int | None:
    """The number in `file`; None where there is none, as in "max"."""
    try:
        return int(_text(file))
    except ValueError:
        return None


def _droppable(stat: Path, key: str) -> int:
    """Bytes of cached files that the kernel drops first when memory runs short."""
    try:
        pairs = (line.split() for line in _text(stat).splitlines())
        return next((int(pair[1]) for pair in pairs if len(pair) == 2 and pair[0] == key), 0)
    except ValueError:
        return 0
