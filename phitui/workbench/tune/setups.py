"""What the tuner is given: a model's memory, the limit, and the configurations there are to try."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from phitui.core.errors import UsageError
from phitui.core.text import counted
from phitui.engine.worker.threads import usable_cores

# Compute types worth a trial: the int8 kind of the device, and what needs no scaling back from int32.
_COMPUTE_TYPES = {"cpu": ("int8_float32", "float32"), "cuda": ("int8_float16", "float16", "bfloat16")}
# Two streams over one copy of the weights can fill a card whose steps are bound by kernel launches; more bring nothing.
_CUDA_WORKERS = (1, 2)
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}


class Setup(NamedTuple):
    """A configuration of the engine: workers, threads of each (0 on CUDA: CTranslate2's choice), compute type."""

    workers: int
    threads: int
    compute_type: str

    def __str__(self) -> str:
        threads = f" × {counted(self.threads, 'thread')}" if self.threads else ""
        return f"{counted(self.workers, 'worker')}{threads}, {self.compute_type}"


@dataclass(frozen=True)
class Limit:
    """How much of the usable memory the engine may take: a share of it, and where `most_bytes` is above 0 no more."""

    share: float
    most_bytes: int = 0

    def of(self, usable_bytes: int) -> int:
        """The limit in bytes."""
        limit = int(self.share * usable_bytes)
        return min(limit, self.most_bytes) if self.most_bytes else limit


def parse_limit(text: str) -> Limit:
    """A share like 0.95, or a size like 6GB, 800MiB. Raises UsageError for anything else."""
    match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,6})?)\s*([kmg]i?)?(b)?", text.strip().lower())
    number = float(match[1]) if match else 0.0
    if match and not match[2] and not match[3] and 0.01 <= number <= 1:
        return Limit(number)
    if match and (match[2] or match[3]) and number > 0:
        return Limit(1.0, int(number * _UNITS[match[2] or ""]))
    raise UsageError(f"--limit: expected a share from 0.01 to 1, or a size like 6GB, got {text[:40]!r}")


def setups(present: Setup, device: str) -> list[Setup]:
    """The other workers × threads to try: on a CPU every way to give all cores away, on CUDA one and two workers."""
    if device == "cuda":
        shapes = [(workers, present.threads) for workers in _CUDA_WORKERS]
    else:
        cores = usable_cores()
        shapes = [(workers, cores // workers) for workers in range(1, cores + 1) if cores % workers == 0]
    made = [present._replace(workers=workers, threads=threads) for workers, threads in shapes]
    return [setup for setup in made if setup != present]


def compute_types(device: str, supported: list[str]) -> list[str]:
    """Those to try on the device."""
    return [kind for kind in _COMPUTE_TYPES.get(device, ()) if kind in supported]
