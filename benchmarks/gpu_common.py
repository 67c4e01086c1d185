"""What the parts of benchmarks/gpu.py share: their settings, where they write, and a loaded engine."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from checkpoint import PHI3_MINI, Dims

from phitui.autotune.memory import MemoryModel, Shape
from phitui.engine.protocol.api import Load, Probed, Room, RunProbe, WarmUp
from phitui.engine.worker.loading import Model, load_model
from phitui.engine.worker.memory_model import memory_model
from phitui.engine.worker.meter import Meter, meter
from phitui.engine.worker.probing import ProbeRun, warm_up

SMALL = Dims(2, 64, 96, 4, 512)
# What a CPU is held to above its model at rest, so that the small model runs out of memory too.
CPU_ROOM_BYTES = 64 << 20


@dataclass(frozen=True)
class Settings:
    """What a part is told. `work` has the model, caches and PHITUI_HOME; `result` is the file that the part writes."""

    device: str
    small: bool
    work: str
    result: str
    b_best: int = 0

    @property
    def dims(self) -> Dims:
        return SMALL if self.small else PHI3_MINI

    @property
    def model(self) -> Path:
        return Path(self.work) / "models" / ("random-small" if self.small else "random-phi-3-mini")

    def load(self, workers: int = 1, compute_type: str = "auto") -> Load:
        profiles = str(Path(self.work) / "profiles.json")
        return Load(
            str(self.model), self.device, compute_type, 1 if self.device == "cpu" else 0, profiles, 0.0, workers
        )


class Report:
    """Figures of a part, written as they come: what is there when a part is ended is kept."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    def tell(self, **figures: Any) -> None:
        """Add figures, or put newer ones in their place."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(figures) + "\n")

    def read(self) -> dict[str, Any]:
        """All that was told."""
        figures: dict[str, Any] = {}
        for line in self._path.read_text(encoding="utf-8").splitlines() if self._path.exists() else ():
            try:
                figures.update(json.loads(line))
            except ValueError:  # the line that was being written when the part was ended
                continue
        return figures


class Engine:
    """The engine's own loading and probing in this process, where CUDA's marks can be read as well."""

    def __init__(self, settings: Settings, workers: int = 1, compute_type: str = "auto") -> None:
        self.model: Model = load_model(settings.load(workers, compute_type), lambda _: None)
        self.meter: Meter = meter(self.loaded.device)
        self._numbers = count(1)

    @property
    def loaded(self) -> Any:
        return self.model.loaded

    @property
    def memory(self) -> MemoryModel:
        return memory_model(self.model.manifest, self.loaded.compute_type, self.loaded.workers, self.loaded.device)

    def warm_up(self, positions: int) -> Room:
        return warm_up(self.model, WarmUp(next(self._numbers), positions), self.meter)

    def probe(self, shape: Shape, every_token: bool = False) -> Probed:
        return ProbeRun(self.model, RunProbe(next(self._numbers), *shape, every_token=every_token), self.meter).run()


@contextmanager
def peak_of_card(device: str) -> Iterator[dict[str, int | None]]:
    """The most memory that NVML says is in use on card 0 meanwhile, of all programs, looked at every 5 ms; and before
    that. None on a CPU or where NVML does not say."""
    found: dict[str, int | None] = {"before": None, "peak": None}
    stopped = threading.Event()
    if device != "cuda":
        yield found
        return
    import pynvml

    def watch() -> None:
        while not stopped.is_set():
            used = int(pynvml.nvmlDeviceGetMemoryInfo(handle).used)
            found["peak"] = max(found["peak"] or 0, used)
            time.sleep(0.005)

    pynvml.nvmlInit()
    handle = pynvml.nvmlDeviceGetHandleByIndex(0)
    found["before"] = int(pynvml.nvmlDeviceGetMemoryInfo(handle).used)
    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        stopped.set()
        thread.join()
        pynvml.nvmlShutdown()


def used_now(device: str) -> int | None:
    """What NVML says is in use on card 0; None on a CPU."""
    with peak_of_card(device) as found:
        return found["before"]
