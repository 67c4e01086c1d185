"""What a bench ran on: the device, its memory's peak, versions; and the result with all of that in it."""

from __future__ import annotations

import math
import platform
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import phitui
from phitui.core.ipc.messages import Progress
from phitui.engine.protocol.api import Loaded
from phitui.engine.worker.threads import usable_cores
from phitui.hardware.host.cpu import cpu_name
from phitui.models.manifest import Manifest
from phitui.storage.profiles import FILE_NAME
from phitui.workbench.bench.figures import Hardware
from phitui.workbench.bench.result import (
    FORMAT,
    VERSION,
    BatchResult,
    BenchModel,
    BenchResult,
    BenchSetup,
    Circumstances,
    DeviceFacts,
    Workload,
)
from phitui.workbench.bench.watch import Watch
from phitui.workbench.telemetry.calibration import known_rate, measure_rate
from phitui.workbench.telemetry.traffic import cpu_peak, device_traffic

if TYPE_CHECKING:
    from phitui.hardware.host.copy_rate import MemoryRate


async def memory_rate(home: Path, tell: Callable[[Progress], None]) -> MemoryRate | None:
    """How fast the machine's memory is: as it is kept in `home`, else measured now. None where it cannot be."""
    known = known_rate(home / FILE_NAME)
    if known is not None:
        return known
    tell(Progress("measure", "measuring the machine's memory"))
    return await measure_rate(home / FILE_NAME, home / "logs" / "calibration.log")


def whole_result(
    model: BenchModel,
    device: DeviceFacts,
    setup: BenchSetup,
    versions: Mapping[str, str],
    workload: Workload,
    conditions: Circumstances,
    results: list[BatchResult],
    interrupted: bool,
    notes: list[str] | None = None,
) -> BenchResult:
    """All of it, as of now and of this phitui."""
    return BenchResult(
        format=FORMAT,
        version=VERSION,
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        interrupted=interrupted,
        model=model,
        device=device,
        config=setup,
        versions={"phitui": phitui.__version__, "python": platform.python_version(), **versions},
        workload=workload,
        conditions=conditions,
        results=results,
        notes=notes or [],
    )


class Machine:
    """A loaded engine on its device. `rate` is the machine's memory, `watch` the sensors of a card."""

    def __init__(self, loaded: Loaded, manifest: Manifest, rate: MemoryRate | None, watch: Watch | None) -> None:
        self._loaded, self._manifest, self._watch = loaded, manifest, watch
        if watch is None:
            self._peak, why = cpu_peak(rate, loaded.footprint)
            if rate is None:
                why = "the machine's memory could not be measured"
            self._source = why or "measured: the machine's memory"
        else:
            self._peak, self._source = _card_peak(watch)

    def hardware(self, batch: int) -> Hardware:
        """What MBU of a batch is computed with."""
        share = math.ceil(batch / self._loaded.workers)
        return Hardware(self._loaded.footprint, math.ceil(batch / share), self._peak, self._source)

    def result(
        self, workload: Workload, conditions: Circumstances, results: list[BatchResult], interrupted: bool
    ) -> BenchResult:
        """The whole result."""
        loaded, manifest = self._loaded, self._manifest
        weights = manifest.files.get("model.bin")
        sha256 = weights.sha256 if weights else ""
        return whole_result(
            BenchModel(manifest.name, manifest.quantization, sha256, manifest.context_window),
            self._device(),
            BenchSetup(loaded.workers, loaded.threads, loaded.compute_type),
            {name: version(name) for name in ("ctranslate2", "tokenizers")},
            workload,
            conditions,
            results,
            interrupted,
        )

    def _device(self) -> DeviceFacts:
        snapshot = self._watch.snapshot if self._watch is not None else None
        device = self._watch.device if self._watch is not None else None
        name = device.name if device is not None else "a card that its driver does not name"
        return DeviceFacts(
            kind=self._loaded.device,
            name=cpu_name() if self._watch is None else name,
            uuid=device.uuid if device is not None else None,
            cpus=usable_cores(),
            driver=snapshot.driver if snapshot is not None else None,
            cuda=snapshot.cuda if snapshot is not None else None,
            peak_gb_s=self._peak,
            peak_source=self._source,
        )


def _card_peak(watch: Watch) -> tuple[float | None, str]:
    if watch.device is None:
        return None, "the driver has not answered"
    traffic = device_traffic(watch.device)
    return traffic.peak_gb_s, traffic.peak_reason or "the driver: memory clock × bus width"
