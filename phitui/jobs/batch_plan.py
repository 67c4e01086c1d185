"""How large the batches of a job are: as asked for, as the tuner found, or as configured."""

from __future__ import annotations

import os
from collections.abc import Mapping

import msgspec

from phitui.config import Config
from phitui.engine.api import Cost, Loaded
from phitui.engine.rows_api import DEFAULT_CONCURRENCY
from phitui.jobs.batch import Plan
from phitui.jobs.load_tunings import tuned_for
from phitui.jobs.tunings import conditions, tunings_file
from phitui.models.manifest import Manifest
from phitui.store.tunings import Tuning, bucket, read_tunings, stale


def plan_for(
    config: Config,
    manifest: Manifest,
    loaded: Loaded,
    rows: int | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Plan:
    """Batches of at most `rows`; None: as the newest tuning says that holds here, else engine.batch. Asks the driver:
    not for the event loop."""
    found = _tuning(manifest, loaded, environ)
    cost = _cost(found) if found else None
    kv_tokens = config.engine.kv_tokens or (found.kv_tokens if found else 0)
    budget = f"{kv_tokens} tokens of KV cache" if kv_tokens else "as much KV cache as memory allows"
    if rows is not None:
        return Plan(rows, kv_tokens, cost, f"{rows} rows as asked, {budget}")
    if found is not None:
        length = found.prompt_tokens + found.new_tokens
        why = f"{found.batch} rows as tuned for rows of {length} tokens, {found.kv_tokens} tokens of KV cache"
        return Plan(found.batch, found.kv_tokens, cost, why)
    batch = config.engine.batch
    return Plan(batch, kv_tokens, None, f"{batch} rows (engine.batch; phitui tune finds what is fastest), {budget}")


def remote_plan(
    config: Config, loaded: Loaded, rows: int | None = None, environ: Mapping[str, str] = os.environ
) -> Plan:
    """How many rows of a batch are asked of a server at once: `rows`, else as configured, as the tuner found, as many
    as the server takes, or DEFAULT_CONCURRENCY."""
    remote = loaded.remote
    name = remote.name if remote is not None else ""
    if rows is not None:
        return Plan(rows, 0, None, f"{rows} rows at once as asked")
    settings = config.engines.get(name)
    if settings is not None and settings.concurrency:
        return Plan(settings.concurrency, 0, None, f"{settings.concurrency} rows at once (engines.{name}.concurrency)")
    found = tuned_for(loaded, environ)
    if found is not None:
        lengths = f"{found.prompt_tokens} + {found.new_tokens} tokens"
        return Plan(found.c_best, 0, None, f"{found.c_best} rows at once, as tuned for rows of {lengths}")
    at_once = remote.at_once if remote is not None else None
    if at_once is not None and at_once < DEFAULT_CONCURRENCY:
        return Plan(at_once, 0, None, f"{at_once} rows at once, as many as the server takes")
    return Plan(DEFAULT_CONCURRENCY, 0, None, f"{DEFAULT_CONCURRENCY} rows at once (--concurrency sets it)")


def _tuning(manifest: Manifest, loaded: Loaded, environ: Mapping[str, str]) -> Tuning | None:
    """The newest one of this model, compute type and workers whose conditions hold."""
    wanted = (manifest.name, loaded.compute_type, loaded.workers)
    stored = [
        one
        for one in read_tunings(tunings_file(environ))[0]
        if (one.model_name, one.conditions.compute_type, one.workers) == wanted
    ]
    if not stored:
        return None
    now = conditions(manifest, loaded.device, loaded.compute_type, bucket(1), loaded.device_uuid)
    return next((one for one in stored if not stale(one, now)), None)


def _cost(tuning: Tuning) -> Cost | None:
    """The tuner's fits, where they were kept."""
    values = [getattr(tuning, field.name, None) for field in msgspec.structs.fields(Cost)]
    known = [value for value in values if isinstance(value, float)]
    return Cost(*known) if len(known) == len(values) and any(known) else None
