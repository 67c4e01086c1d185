"""The tuner's answers from one start to the next: under which conditions they were found, and whether they hold."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

from phitui.config.layers import home
from phitui.engine.worker.threads import usable_cores
from phitui.hardware.figures import same_uuid
from phitui.hardware.host.cpu import cpu_name
from phitui.hardware.nvml.probe import Gpu, probe_driver
from phitui.models.manifest import Manifest
from phitui.storage.tunings import FILE_NAME, Conditions, Tuning, bucket, newest_for, read_tunings, stale, write_tuning
from phitui.workbench.tune.events import TuneResult


def tunings_file(environ: Mapping[str, str] = os.environ) -> Path:
    """Where they are kept."""
    return home(environ) / FILE_NAME


def conditions(
    manifest: Manifest, device: str, compute_type: str, total_tokens: int, device_uuid: str = ""
) -> Conditions:
    """What holds now for this model on "cpu" or "cuda". `device_uuid` is that of the engine's card
    (`Loaded.device_uuid`): the driver lists its cards in another order, and also those that CUDA_VISIBLE_DEVICES hides.
    """
    name, driver = f"{cpu_name()}, {usable_cores()} cores", ""
    if device == "cuda":
        report = probe_driver()
        name, driver = card_name(report.gpus, device_uuid), report.driver or ""
    weights = manifest.files.get("model.bin")
    return Conditions(
        device=name,
        driver=driver,
        engine=version("ctranslate2"),
        model=weights.sha256 if weights else "",
        compute_type=compute_type,
        bucket=bucket(total_tokens),
    )


def card_name(gpus: list[Gpu], device_uuid: str) -> str:
    """The driver's UUID of the engine's card, or what else tells it from others. Without `device_uuid`: the only card,
    or none of them."""
    if device_uuid:
        listed = (gpu.uuid for gpu in gpus if gpu.uuid and same_uuid(gpu.uuid, device_uuid))
        return next(listed, f"GPU-{device_uuid}")
    only = gpus[0] if len(gpus) == 1 else None
    return (only and (only.uuid or only.name)) or "a GPU that its driver does not name"


def to_keep(result: TuneResult) -> Tuning:
    """What is stored of a result."""
    goal, answer, setup = result.goal, result.answer, result.setup
    total = goal.prompt_tokens + goal.new_tokens
    return Tuning(
        conditions=conditions(
            result.manifest, result.loaded.device, setup.compute_type, total, result.loaded.device_uuid
        ),
        model_name=result.manifest.name,
        made=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        prompt_tokens=goal.prompt_tokens,
        new_tokens=goal.new_tokens,
        workers=setup.workers,
        threads=setup.threads,
        batch=answer.b_best,
        b_max=answer.b_max,
        kv_tokens=answer.kv_token_budget,
        tokens_per_s=round(answer.tokens_per_s, 3),
        peak_bytes=answer.memory.peak(goal.shape(answer.b_best)),
        limit_bytes=answer.limit_bytes,
        why=answer.why,
        step_fixed_s=answer.steps.fixed_s,
        step_row_s=answer.steps.row_s,
        step_token_s=answer.steps.token_s,
        prefill_call_s=answer.prefill.call_s,
        prefill_token_s=answer.prefill.token_s,
        spread=answer.spread,
        measurements=answer.measurements,
    )


def remember(result: TuneResult, environ: Mapping[str, str] = os.environ) -> str:
    """Keep a result; returns "", or what became of a file that cannot be read. Raises PhituiError where it cannot be
    written."""
    return write_tuning(tunings_file(environ), to_keep(result))


def earlier(
    manifest: Manifest,
    device: str,
    total_tokens: int,
    usable_bytes: int | None,
    environ: Mapping[str, str] = os.environ,
    device_uuid: str = "",
) -> tuple[Tuning | None, str]:
    """The newest stored tuning of this model for texts of this length, of this device where there is one, and why it
    does not hold now ("" where it does). With no tuning the second is "", or what is wrong with the file."""
    stored, problem = read_tunings(tunings_file(environ))
    if not stored:
        return None, problem
    now = conditions(manifest, device, "", total_tokens, device_uuid)
    found = newest_for(stored, manifest.name, now.bucket, now.device)
    return (None, problem) if found is None else (found, stale(found, now, usable_bytes))
