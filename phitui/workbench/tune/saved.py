"""The tuner's answers from one start to the next: under which conditions they were found, and whether they hold."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime, timezone
from importlib.metadata import version

from phitui.autotune.probes import Goal
from phitui.autotune.server_search import ServerGoal
from phitui.config.layers import home
from phitui.core.text import one_line
from phitui.engine.protocol.api import Loaded, Remote
from phitui.engine.worker.threads import usable_cores
from phitui.hardware.figures import same_uuid
from phitui.hardware.host.cpu import cpu_name
from phitui.hardware.nvml.probe import Gpu, probe_driver
from phitui.models.manifest import Manifest
from phitui.storage.tunings import (
    SERVER_TUNINGS,
    TUNINGS,
    Conditions,
    ServerTuning,
    ServerTuningKey,
    Tuning,
    bucket,
    newest_for,
    stale,
    stale_server_tuning,
)
from phitui.workbench.tune.events import Earlier, ServerTuneResult, TuneResult
from phitui.workbench.tune.records import record, server_record


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


def keep(result: TuneResult | ServerTuneResult, environ: Mapping[str, str] = os.environ) -> str:
    """Keep what a tuning has found; returns "", or what became of a file that cannot be read. Raises PhituiError where
    it cannot be written."""
    if isinstance(result, ServerTuneResult):
        return SERVER_TUNINGS.add(home(environ), _of_server(result))
    return TUNINGS.add(home(environ), _of_machine(result))


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def _of_machine(result: TuneResult) -> Tuning:
    goal, answer, setup, loaded = result.goal, result.answer, result.setup, result.loaded
    total = goal.prompt_tokens + goal.new_tokens
    return Tuning(
        conditions=conditions(result.manifest, loaded.device, setup.compute_type, total, loaded.device_uuid),
        model_name=result.manifest.name,
        made=_now(),
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
        probes=tuple(map(record, result.probes)),
    )


def _of_server(result: ServerTuneResult) -> ServerTuning:
    remote, answer = result.remote, result.answer
    return ServerTuning(
        key=_key(remote, result.goal),
        model=remote.model,
        kind=remote.kind,
        at_once=remote.at_once,
        made=_now(),
        c_max=answer.c_max,
        c_best=answer.c_best,
        c_slo=answer.c_slo,
        tokens_per_s=round(answer.tokens_per_s, 3),
        spread=answer.spread,
        measurements=answer.measurements,
        why=answer.why,
        probes=tuple(map(server_record, answer.probes)),
    )


def _key(remote: Remote, goal: ServerGoal) -> ServerTuningKey:
    return ServerTuningKey(remote.name, remote.host, goal.prompt_tokens, goal.new_tokens)


def earlier(
    manifest: Manifest, loaded: Loaded, goal: Goal, usable_bytes: int | None, environ: Mapping[str, str] = os.environ
) -> Earlier | None:
    """The newest stored tuning of this model for texts of this length, of this device where there is one."""
    stored, problem = TUNINGS.read(home(environ))
    if not stored:
        return _told("", problem)
    total = goal.prompt_tokens + goal.new_tokens
    now = conditions(manifest, loaded.device, "", total, loaded.device_uuid)
    found = newest_for(stored, manifest.name, now.bucket, now.device)
    if found is None:
        return _told("", problem)
    setup = f"{found.workers} × {found.threads} threads, {found.conditions.compute_type}"
    what = f"{found.made}: {found.batch} rows, {setup}, {found.tokens_per_s:.0f} output tok/s"
    return _told(what, stale(found, now, usable_bytes))


def earlier_of_server(remote: Remote, goal: ServerGoal, environ: Mapping[str, str] = os.environ) -> Earlier | None:
    """The stored tuning of this engine and these lengths."""
    stored, problem = SERVER_TUNINGS.read(home(environ))
    found = next((one for one in stored if one.key == _key(remote, goal)), None)
    if found is None:
        return _told("", problem)
    return _told(
        f"{found.made}: {found.c_best} at once, {found.tokens_per_s:.0f} output tok/s", problem_of(found, remote)
    )


def _told(found: str, problem: str) -> Earlier | None:
    if not found:
        return Earlier("", problem) if problem else None
    state = f"stale: {problem}" if problem else "it still holds"
    return Earlier(f"found before, {one_line(found, 200)} ({one_line(state, 200)})", problem)


def problem_of(tuning: ServerTuning, remote: Remote) -> str:
    """Why it does not hold for this server now, "" where it does."""
    return stale_server_tuning(tuning, remote.model, remote.kind, remote.at_once)


def of_server(remote: Remote, environ: Mapping[str, str] = os.environ) -> tuple[list[ServerTuning], str]:
    """All of this engine, newest first, and "" or what is wrong with their file."""
    stored, problem = SERVER_TUNINGS.read(home(environ))
    return [one for one in stored if (one.key.engine, one.key.host) == (remote.name, remote.host)], problem


def tuned_for(remote: Remote | None, environ: Mapping[str, str] = os.environ) -> ServerTuning | None:
    """The newest one of this engine that holds now, whatever its lengths."""
    mine = of_server(remote, environ)[0] if remote is not None else []
    return next((one for one in mine if remote is not None and not problem_of(one, remote)), None)
