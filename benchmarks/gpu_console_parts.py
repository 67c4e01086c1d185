"""Parts of benchmarks/gpu.py that go the way of phitui's own commands: bench, tune, running out of memory."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec
from gpu_common import CPU_ROOM_BYTES, Report, Settings

from phitui.autotune.memory import MemoryModel, Shape
from phitui.autotune.probes import Goal
from phitui.cli import loop
from phitui.cli.tune_table import report as tune_report
from phitui.config.layers import Config, load_config
from phitui.core.errors import PhituiError
from phitui.engine.protocol.api import Loaded, Room
from phitui.engine.worker.memory_model import memory_model
from phitui.models.manifest import read_manifest
from phitui.workbench.bench.bench import BenchPlan
from phitui.workbench.bench.bench import bench as run_bench
from phitui.workbench.measure.probing import ProbingEngine
from phitui.workbench.tune.events import LocalTuneEvent, ProbeEnded
from phitui.workbench.tune.local import tune as run_tune
from phitui.workbench.tune.setups import Limit

# How far above what there is a batch is asked for: it must not fit by a stroke of luck.
_TOO_MUCH = 1.3
_OOM_SHAPES = {"prefill": (1024, 4), "decode": (16, 256)}


def bench(settings: Settings, report: Report) -> None:
    """`phitui bench` at 1, 8, 26 rows, and at B* where the tuner has found it."""
    batches = tuple(sorted({1, 8, 26, *([settings.b_best] if settings.b_best else [])}))
    plan = BenchPlan(batches, 32, 16, 2) if settings.small else BenchPlan(batches, 256, 128, 3)

    async def run() -> None:
        result = await run_bench(_config(settings), plan, lambda _: None)
        report.tell(result=msgspec.to_builtins(result))

    loop.run(run())


def tune(settings: Settings, report: Report) -> None:
    """`phitui tune`, and every probe of it as it comes."""
    goal = Goal(200, 24, start=8, decode_steps=8, most_probes=4) if settings.small else Goal(256, 128)
    limit = Limit(1.0, 250 * 10**6) if settings.small and settings.device == "cpu" else Limit(0.95)
    probes: list[dict[str, Any]] = []

    def tell(event: LocalTuneEvent) -> None:
        if isinstance(event, ProbeEnded):
            shape, outcome = event.verdict.probe.shape, event.verdict.outcome
            probes.append(
                {
                    "setup": str(event.of.setup), **shape._asdict(), "judged": event.verdict.judged,
                    "predicted_bytes": event.verdict.predicted_bytes, "measured_bytes": outcome.peak_bytes,
                    "step_s": outcome.step_s, "prefill_s": outcome.prefill_s, "detail": outcome.detail,
                }
            )  # fmt: skip
            report.tell(probes=probes)

    async def run() -> None:
        result = await run_tune(_config(settings), goal, limit, tell)
        report.tell(b_best=result.answer.b_best, b_max=result.answer.b_max, result=tune_report(result))

    loop.run(run())


def oom(settings: Settings, report: Report) -> None:
    """Running out of memory for real, while the prompt is read and while tokens are made; and what works after it."""

    async def run() -> None:
        engine = ProbingEngine(Path(settings.work) / "oom.log", lambda _: None)
        try:
            loaded = await engine.load(settings.load())
            room = await engine.warm_up(2048)
            model = memory_model(read_manifest(settings.model), loaded.compute_type, loaded.workers, loaded.device)
            for name, lengths in _OOM_SHAPES.items():
                report.tell(**{name: await _one(engine, loaded, room, model, lengths)})
        finally:
            await engine.stop()

    loop.run(run())


async def _one(
    engine: ProbingEngine, loaded: Loaded, room: Room, model: MemoryModel, lengths: tuple[int, int]
) -> dict[str, Any]:
    on_cpu = loaded.device == "cpu"
    bound = room.rest_bytes + CPU_ROOM_BYTES if on_cpu else 0
    free = CPU_ROOM_BYTES if on_cpu else room.usable_bytes - room.rest_bytes
    row = model.peak(Shape(2, *lengths)) - model.peak(Shape(1, *lengths))
    shape = Shape(int(_TOO_MUCH * free / row) + 1, *lengths)
    pid, begun = engine.pid, time.perf_counter()
    made = await engine.probe(shape, bound)
    oom_s, begun = time.perf_counter() - begun, time.perf_counter()
    after: dict[str, Any] = {}
    try:
        again = await engine.probe(Shape(1, 32, 8), 0)
        after = {"kind": again.kind, "detail": again.detail, "peak_bytes": again.peak_bytes}
    except PhituiError as error:
        after = {"kind": "lost", "detail": str(error)}
    return {
        **shape._asdict(),
        "kind": made.kind,
        "detail": made.detail,
        "seconds": round(oom_s, 3),
        "same_process": engine.pid == pid,
        "after": {**after, "seconds": round(time.perf_counter() - begun, 3)},
        "rest_bytes": room.rest_bytes,
        "usable_bytes": room.usable_bytes,
    }


def _config(settings: Settings) -> Config:
    threads = {"threads": 1} if settings.device == "cpu" else {}
    return load_config(None, {"model": {"name": str(settings.model)}, "engine": {"device": settings.device, **threads}})
