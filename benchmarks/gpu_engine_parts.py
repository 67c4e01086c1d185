"""Parts of benchmarks/gpu.py that look at the engine from inside its process."""

from __future__ import annotations

import math
import os
import statistics
import time
from pathlib import Path
from typing import Any

from checkpoint import Dims
from gpu_common import Engine, Report, Settings, peak_of_card, used_now
from random_model import make_model

from phitui.autotune.memory import Shape
from phitui.engine.protocol.api import Load
from phitui.engine.worker.loading import check_answers, load_model
from phitui.engine.worker.parking import Parking, bytes_in_memory
from phitui.hardware.analysis import roofline
from phitui.hardware.sampler import Sampler
from phitui.hardware.snapshot import Snapshot

_POSITIONS = 2048 + 256
_STEPS_SHAPE = (128, 33)
_BATCHES = (1, 2, 4, 8, 16, 24, 26, 32, 48, 64, 104, 128, 256)
_WORKER_BATCHES = (2, 8, 26, 104)
_SHAPES = (
    Shape(1, 2048, 8), Shape(8, 512, 8), Shape(8, 2048, 8), Shape(32, 1024, 4),
    Shape(8, 16, 240), Shape(64, 64, 192), Shape(128, 32, 128),
)  # fmt: skip
# Seconds of decoding that are compared, and at most so many tokens.
_WINDOW = (6.0, 1024)
_SMALL_WINDOW = (0.5, 256)


def make(settings: Settings, report: Report) -> None:
    """The model, by phitui's converter."""
    begun = time.perf_counter()
    manifest = make_model(settings.model, settings.dims)
    report.tell(
        seconds=round(time.perf_counter() - begun, 2), bytes=manifest.total_bytes, sizes=settings.dims._asdict()
    )


def first_load(settings: Settings, report: Report) -> None:
    """Loading and the first tokens, while the driver may still have to compile kernels for the card."""
    cache = Path(os.environ.get("CUDA_CACHE_PATH", "/nonexistent"))
    report.tell(compiled_kernels_bytes_before=_folder_bytes(cache))
    begun = time.perf_counter()
    engine = Engine(settings)
    report.tell(load_s=_since(begun), compute_type=engine.loaded.compute_type, why=engine.loaded.why)
    report.tell(compute_types=engine.loaded.compute_types, device=engine.loaded.device)
    for name in ("first_token_s", "second_token_s"):
        begun = time.perf_counter()
        check_answers(engine.model)
        report.tell(**{name: _since(begun)})
    begun = time.perf_counter()
    room = engine.warm_up(64)
    report.tell(warm_up_s=_since(begun), rest_bytes=room.rest_bytes, usable_bytes=room.usable_bytes)
    report.tell(compiled_kernels_bytes_after=_folder_bytes(cache))


def memory(settings: Settings, report: Report) -> None:
    """Predicted peaks beside measured ones: shapes whose peak is at prefill, and shapes whose peak is at decode."""
    divisor = 4 if settings.small else 1
    shapes = [shape._replace(prompt=shape.prompt // divisor, new=shape.new // divisor) for shape in _SHAPES]
    engine = Engine(settings)
    room = engine.warm_up(_POSITIONS)
    model = engine.memory
    base = room.rest_bytes - model.rotary(_POSITIONS)
    found: list[dict[str, Any]] = []
    for shape in shapes:
        predicted = base + model.rotary(_POSITIONS) - model.rotary(shape.total) + model.peak(shape)
        if predicted > 0.9 * room.usable_bytes:
            continue
        with peak_of_card(settings.device) as card:
            made = engine.probe(shape)
        found.append(
            {
                **shape._asdict(),
                "kind": made.kind,
                "predicted_bytes": predicted,
                "prefill_bytes": model.prefill(shape),
                "decode_bytes": model.decode(shape),
                "measured_bytes": made.peak_bytes,
                "nvml_before_bytes": card["before"],
                "nvml_peak_bytes": card["peak"],
                "error_above_rest": _share(
                    predicted - (made.peak_bytes or 0), (made.peak_bytes or 0) - room.rest_bytes
                ),
                "error": _share(predicted - (made.peak_bytes or 0), made.peak_bytes or 0),
            }
        )
        report.tell(rest_bytes=room.rest_bytes, usable_bytes=room.usable_bytes, shapes=found)


def steps(settings: Settings, report: Report) -> None:
    """Step time against batch, one worker."""
    _steps(settings, report, 1, _WORKER_BATCHES if settings.small else _BATCHES)


def workers(settings: Settings, report: Report) -> None:
    """The same with two workers, at the sizes where `steps` has one."""
    _steps(settings, report, 2, _WORKER_BATCHES)


def _steps(settings: Settings, report: Report, count: int, batches: tuple[int, ...]) -> None:
    engine = Engine(settings, count)
    room = engine.warm_up(256)
    prompt, new = _STEPS_SHAPE
    report.tell(workers=count, compute_type=engine.loaded.compute_type, prompt_tokens=prompt, new_tokens=new)
    found: dict[str, Any] = {}
    for batch in batches:
        shape = Shape(batch, prompt, new)
        if room.rest_bytes + engine.memory.peak(shape) > 0.9 * room.usable_bytes:
            break
        engine.probe(Shape(batch, prompt, 4))
        made = [engine.probe(shape) for _ in range(2)]
        if any(one.kind != "ok" for one in made):
            found[str(batch)] = {"problem": made[-1].kind, "detail": made[-1].detail}
            continue
        best = min(made, key=lambda one: one.seconds)
        found[str(batch)] = {
            "step_ms": _ms(best.step_s),
            "step_p95_ms": _ms(best.step_p95_s),
            "prefill_ms": _ms(best.prefill_s),
            "output_tokens_per_s": round(batch * new / best.seconds, 2),
        }
        report.tell(batches=found)


def bandwidth(settings: Settings, report: Report) -> None:
    """The bandwidth that is modelled from step times beside the one that the card's counters measure."""
    engine = Engine(settings)
    engine.warm_up(256)
    readings: list[tuple[float, Snapshot]] = []
    sampler = Sampler(0.5, lambda snapshot: readings.append((time.perf_counter(), snapshot)))
    sampler.start()
    found: dict[str, Any] = {}
    try:
        for batch in (1, 26):
            window = _SMALL_WINDOW if settings.small else _WINDOW
            found[str(batch)] = _one_bandwidth(engine, batch, readings, *window)
            report.tell(batches=found)
    finally:
        sampler.stop()


def _one_bandwidth(
    engine: Engine, batch: int, readings: list[tuple[float, Snapshot]], window_s: float, most: int
) -> dict[str, Any]:
    prompt = 64
    step = engine.probe(Shape(batch, prompt, 17)).step_s or 1.0
    new = max(8, min(int(window_s / step), most))
    made = engine.probe(Shape(batch, prompt, new), every_token=True)
    ended = time.perf_counter()
    footprint = engine.loaded.footprint
    if made.kind != "ok" or footprint is None:
        return {"problem": made.kind, "detail": made.detail or "this model's bytes per step are not known"}
    row = made.token_s[0]
    load = roofline.DecodeLoad(footprint.weight_step, footprint.kv_token, batch, prompt + len(row) / 2)
    rate = (len(row) - 1) / (row[-1] - row[0])
    began = ended - made.seconds + row[0] + 0.6  # a reading is of the time since the one before
    inside = [snapshot.devices[0].bandwidth for at, snapshot in readings if began <= at <= ended and snapshot.devices]
    measured = [one.value_gb_s for one in inside if one.source == "measured" and one.value_gb_s is not None]
    busy = [one.value_gb_s for one in inside if one.source == "busy" and one.value_gb_s is not None]
    useful, moved = roofline.useful_gb_s(load, rate), roofline.engine_gb_s(load, rate)
    mean = statistics.fmean(measured) if measured else None
    return {
        "decode_s": round(row[-1] - row[0], 3),
        "steps_per_s": round(rate, 2),
        "modelled_useful_gb_s": round(useful, 2),
        "modelled_engine_gb_s": round(moved, 2),
        "measured_gb_s": None if mean is None else round(mean, 2),
        "measured_n": len(measured),
        "measured_over_useful": None if mean is None else round(mean / useful, 3),
        "busy_upper_bound_gb_s": round(statistics.fmean(busy), 2) if busy else None,
        "peak_gb_s": next((one.peak_gb_s for one in inside if one.peak_gb_s is not None), None),
        "reason": "" if measured else _why_not_measured(readings),
    }


def _why_not_measured(readings: list[tuple[float, Snapshot]]) -> str:
    if not readings or not readings[-1][1].devices:
        return "no reading"
    unavailable = readings[-1][1].devices[0].unavailable
    return unavailable.get("sm_active_pct", "") or unavailable.get("bandwidth.value_gb_s", "no counter on this device")


def parking(settings: Settings, report: Report) -> None:
    """How long parking and waking take, and what comes free."""
    engine = Engine(settings)
    engine.warm_up(64)
    place = Parking(engine.model.generator, engine.loaded.device, bytes_in_memory(engine.loaded))
    found: list[dict[str, Any]] = []
    for _ in range(3):
        before, begun = used_now(settings.device), time.perf_counter()
        where = place.park()
        park_s, parked = _since(begun), used_now(settings.device)
        wake_s = place.wake()
        begun = time.perf_counter()
        check_answers(engine.model)
        found.append(
            {
                "place": where, "park_s": park_s, "wake_s": round(wake_s, 4), "first_token_s": _since(begun),
                "used_before_bytes": before, "used_parked_bytes": parked, "used_after_bytes": used_now(settings.device),
            }
        )  # fmt: skip
        report.tell(weight_bytes=bytes_in_memory(engine.loaded), rounds=found)


def longrope(settings: Settings, report: Report) -> None:
    """LongRoPE's scaled positions on the device against float32 on the CPU: log probabilities of a small model."""
    dims = Dims(2, 64, 96, 4, 512)
    half = dims.model_dim // dims.heads // 2
    scaling = {
        "type": "longrope",
        "short_factor": [1.0 + 0.3 * i for i in range(half)],
        "long_factor": [1.5 + 0.7 * i for i in range(half)],
    }
    found: dict[str, Any] = {}
    for regime, context in (("short", 0), ("long", 1000)):
        folder = Path(settings.work) / "models" / f"longrope-{regime}"
        make_model(
            folder, dims, "float32", context,
            rope_scaling=scaling, max_position_embeddings=2048, original_max_position_embeddings=128,
        )  # fmt: skip
        found[regime] = _longrope(folder, settings, 120 if regime == "short" else 600)
        report.tell(regimes=found)


def _longrope(folder: Path, settings: Settings, length: int) -> dict[str, Any]:
    truth = _log_probabilities(folder, "cpu", "float32", length)
    found: dict[str, Any] = {"tokens": length}
    for kind in ("float32", "float16", "bfloat16"):
        try:
            values = _log_probabilities(folder, settings.device, kind, length)
        except Exception as error:  # noqa: BLE001 - a kind that the device does not run is a line
            found[kind] = {"problem": str(error)[:200]}
            continue
        worst = max(abs(one - other) for one, other in zip(values, truth, strict=True))
        found[kind] = {"finite": all(map(math.isfinite, values)), "largest_difference": float(f"{worst:.4g}")}
    return found


def _log_probabilities(folder: Path, device: str, kind: str, length: int) -> list[float]:
    model = load_model(Load(str(folder), device, kind, 1, str(folder / "profiles.json")), lambda _: None)
    row = model.prompt.ordinary(1, length)
    return list(model.generator.score_batch(row)[0].log_probs)


def _folder_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) if folder.is_dir() else 0


def _since(begun: float) -> float:
    return round(time.perf_counter() - begun, 4)


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)


def _share(difference: int, whole: int) -> float | None:
    return round(difference / whole, 4) if whole > 0 else None
