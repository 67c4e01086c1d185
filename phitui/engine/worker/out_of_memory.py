"""A load that runs out of memory: what it needs, what is free, and who has the rest."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import NamedTuple

from phitui.core.errors import UnavailableError
from phitui.engine.worker.cuda_pool import CudaPool
from phitui.hardware.host.cpu import memory
from phitui.hardware.host.memory_holders import largest_holder
from phitui.models.footprint import footprint
from phitui.models.manifest import Manifest

_FIXES = {
    "cpu": "Stop other programs that use it, or choose a smaller model",
    "cuda": "Stop other programs that use the card, or use --device cpu",
}


def out_of_memory(manifest: Manifest, compute_type: str, device: str) -> UnavailableError:
    """The error for a model whose weights do not fit on "cpu" or "cuda" in `compute_type`. Reads the machine's or the
    card's memory, where that can be had: what failed to load has been given back by now."""
    known = footprint(manifest, compute_type)
    needed = known.weights if known is not None else manifest.weight_bytes
    said = f"not enough free {'VRAM' if device == 'cuda' else 'memory'}: {manifest.title}'s weights need {_gb(needed)}"
    limit = _tightest_limit() if device == "cpu" else None
    if limit is not None and limit.left < needed:
        held = f"the engine's process may have {_gb(limit.left)} more (ulimit -{limit.flag})"
        return UnavailableError(f"{said}, {held}", f"Raise ulimit -{limit.flag}, or choose a smaller model")
    return UnavailableError(f"{said}, {_free(device)}, {_holder(device)}", _FIXES[device])


class _Limit(NamedTuple):
    """A limit of this process: the shell's flag for it, and the bytes that it leaves."""

    flag: str
    left: int


def _tightest_limit() -> _Limit | None:
    """The limit on data or on addresses that leaves least; None where there is none, or none can be told."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    held = {name: value for name, _, value in (line.partition(":") for line in lines)}
    limits = []
    for flag, kind, field in (("d", resource.RLIMIT_DATA, "VmData"), ("v", resource.RLIMIT_AS, "VmSize")):
        most = resource.getrlimit(kind)[0]
        if most != resource.RLIM_INFINITY and field in held:
            limits.append(_Limit(flag, max(most - 1024 * int(held[field].split()[0]), 0)))
    return min(limits, key=lambda limit: limit.left, default=None)


def _gb(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"


def _free(device: str) -> str:
    try:
        free, reason = (_free_vram(), "") if device == "cuda" else _free_ram()
    except UnavailableError as error:
        free, reason = None, error.message
    return f"how much is free is not known ({reason})" if free is None else f"{_gb(free)} is free for it"


def _free_vram() -> int:
    pool = CudaPool()
    pool.trim()
    return pool.free() + pool.reserved()


def _free_ram() -> tuple[int | None, str]:
    _, available = memory()
    return (available, "") if isinstance(available, int) else (None, available.reason)


def _holder(device: str) -> str:
    """The process that has started this one, a console or a command, is not a stranger."""
    try:
        uuid = CudaPool().uuid() if device == "cuda" else ""
        return largest_holder(device, uuid, [os.getppid()])
    except UnavailableError as error:
        return f"what uses the rest is not known ({error.message})"
    except (MemoryError, OSError):  # so little is left that not even this can be read
        return "what uses the rest could not be read"
