"""How many threads answer one prompt fastest on this CPU: measured, not guessed.

With few cores a second thread can cost more in barriers than it brings, on a large machine with a large model it
does not; no rule knows both. So the counts 1, 2, 4, … are timed at single-row decode until more make it slower,
once for each machine and model.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from phitui.core.ipc.messages import Progress
from phitui.core.text import counted
from phitui.models.manifest import Manifest
from phitui.storage.profiles import read_profile, write_profile

_ROUNDS = 2
_STEPS = 16
_WARM_UP_STEPS = 4
# A count must be this much faster than a smaller one to be worth its cores.
_WORTH = 1.03
# A load average above this share of the cores is a busy machine.
_BUSY = 0.5


def fastest(
    make: Callable[[int], Any], manifest: Manifest, compute_type: str, profiles: Path, tell: Callable[[Progress], None]
) -> tuple[Any, int, str]:
    """A generator with the fastest thread count for one prompt, that count, and why.

    `make(threads)` loads a CTranslate2 Generator. The measurement is read from `profiles` where it was made before.
    """
    cores = usable_cores()
    key = profile_key(manifest, compute_type, cores)
    known = _known(read_profile(profiles, key))
    if known is not None and _holds(known, cores):
        return make(known.threads), known.threads, _why(known)
    load = os.getloadavg()[0]
    steps = measure(make, manifest, cores, tell)
    profile = ThreadProfile(pick(steps), {str(count): round(ms, 2) for count, ms in steps.items()}, round(load, 2))
    write_profile(profiles, key, msgspec.to_builtins(profile))
    return make(pick(steps)), pick(steps), _why(profile)


class ThreadProfile(msgspec.Struct):
    """What was measured: ms per decode step by thread count, on a machine with that load average."""

    threads: int
    step_ms: dict[str, float]
    load: float


def _known(stored: Any) -> ThreadProfile | None:
    try:
        return msgspec.convert(stored, ThreadProfile)
    except msgspec.ValidationError:  # nothing there, or somebody edited it: it can be measured again
        return None


def _holds(known: ThreadProfile, cores: int) -> bool:
    """Whether a stored measurement is good. One made on a busy machine is made again once the machine is idle."""
    busy = cores * _BUSY
    return known.threads in candidates(cores) and (known.load <= busy or os.getloadavg()[0] > busy)


def measure(
    make: Callable[[int], Any], manifest: Manifest, cores: int, tell: Callable[[Progress], None]
) -> dict[int, float]:
    """ms per decode step of one row, by thread count, up to the first count that does not pay.

    Counts are timed in turn, twice, and of all their steps the lower quartile is taken: what else runs on the
    machine comes in bursts and only ever adds time.
    """
    times: dict[int, list[float]] = {}
    for _ in range(_ROUNDS):
        for count in candidates(cores):
            tell(Progress("measure", "Finding, once, how many CPU threads are fastest", count, cores, "threads"))
            times.setdefault(count, []).extend(step_times(make(count), manifest.end_tokens[0]))
            if _quartile(times[count]) > min(map(_quartile, times.values())) * _WORTH:
                break
    return {count: _quartile(steps) for count, steps in times.items()}


def _quartile(times: list[float]) -> float:
    return statistics.quantiles(times, n=4)[0]


def pick(steps: dict[int, float]) -> int:
    """The smallest count that is within the worth of the fastest; `steps` is ms per decode step by count."""
    limit = min(steps.values()) * _WORTH
    return min(count for count, ms in steps.items() if ms <= limit)


def candidates(cores: int) -> list[int]:
    """1, 2, 4, … and the number of cores itself."""
    powers = [1 << power for power in range(cores.bit_length()) if 1 << power < cores]
    return [*powers, cores]


def usable_cores() -> int:
    """Processors this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def profile_key(manifest: Manifest, compute_type: str, cores: int) -> str:
    """What the measurement holds for: this processor, this many cores, this model, this kind."""
    weights = manifest.files["model.bin"].sha256[:16] if "model.bin" in manifest.files else "none"
    return f"threads/{_processor()}/{cores}/{weights}/{compute_type}"


def step_times(generator: Any, token: str) -> list[float]:
    """ms of each decode step of one row, warm-up left out."""
    times: list[float] = []

    def on_token(_: Any) -> bool:
        times.append(time.perf_counter())
        return False

    length = _WARM_UP_STEPS + _STEPS
    generator.generate_batch([[token]], max_length=length, min_length=length, sampling_topk=1, callback=on_token)
    gaps = [(later - earlier) * 1000.0 for earlier, later in pairwise(times)]
    return gaps[_WARM_UP_STEPS - 1 :]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "unknown"
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def _why(profile: ThreadProfile) -> str:
    times = ", ".join(f"{count}: {ms:g} ms" for count, ms in profile.step_ms.items())
    return f"{counted(profile.threads, 'thread')} measured fastest per token ({times})"
