"""How large the batches of a job are: as asked for, as the tuner found, or as configured."""

from __future__ import annotations

import os
from collections.abc import Mapping

import msgspec

from phitui.config.layers import Config, home
from phitui.core.text import counted
from phitui.engine.protocol.api import Cost, Loaded
from phitui.engine.protocol.rows_api import DEFAULT_CONCURRENCY
from phitui.models.manifest import Manifest
from phitui.storage.tunings import TUNINGS, Tuning, bucket, stale
from phitui.workbench.batch.job import BatchPlan
from phitui.workbench.measure.usable import usable_bytes
from phitui.workbench.tune.saved import conditions, tuned_for


def plan_for(
    config: Config,
    manifest: Manifest,
    loaded: Loaded,
    rows: int | None = None,
    environ: Mapping[str, str] = os.environ,
    engine_pid: int | None = None,
) -> BatchPlan:
    """Batches of at most `rows`; None: as configured where engine.kv_tokens is set, as it is by applying a tuning; else
    as the newest tuning says that holds here and that free memory has room for, with what the engine of `engine_pid`
    holds; else engine.batch. Asks the driver: not for the event loop.

    The tuning is not chosen by the rows' length: in tokens that is known only once the engine has read them. Of rows
    longer than were tuned for fewer run at once, because the scheduler counts each row's tokens against the budget of
    KV tokens; of shorter ones no more run at once than the tuning found best for its own length.
    """
    newest, found, short = _tuning(manifest, loaded, environ, engine_pid)
    cost = _cost(newest) if newest else None  # times hold whatever memory is free
    kv_tokens = config.engine.kv_tokens or (found.kv_tokens if found else 0)
    budget = f"{kv_tokens} tokens of KV cache" if kv_tokens else "as much KV cache as memory allows"
    if rows is not None:
        return BatchPlan(rows, kv_tokens, cost, f"{counted(rows, 'row')} as asked, {budget}")
    batch = config.engine.batch
    if config.engine.kv_tokens:
        return BatchPlan(batch, kv_tokens, cost, f"{counted(batch, 'row')} as configured (engine.batch), {budget}")
    if found is not None:
        length = found.prompt_tokens + found.new_tokens
        why = (
            f"{counted(found.batch, 'row')} as tuned for rows of {length} tokens, {found.kv_tokens} tokens of KV cache"
        )
        return BatchPlan(found.batch, found.kv_tokens, cost, why)
    why = f"what was tuned has no room: {short}" if short else "phitui tune finds the fastest batch"
    return BatchPlan(batch, kv_tokens, cost, f"{counted(batch, 'row')} (engine.batch; {why}), {budget}")


def remote_plan(
    config: Config, loaded: Loaded, rows: int | None = None, environ: Mapping[str, str] = os.environ
) -> BatchPlan:
    """How many rows of a batch are asked of a server at once: `rows`, else as configured, as the tuner found, as many
    as the server takes, or DEFAULT_CONCURRENCY."""
    remote = loaded.remote
    name = remote.name if remote is not None else ""
    if rows is not None:
        return BatchPlan(rows, 0, None, f"{counted(rows, 'row')} at once as asked")
    settings = config.engines.get(name)
    if settings is not None and settings.concurrency:
        return BatchPlan(
            settings.concurrency,
            0,
            None,
            f"{counted(settings.concurrency, 'row')} at once (engines.{name}.concurrency)",
        )
    found = tuned_for(remote, environ)
    if found is not None:
        lengths = f"{found.prompt_tokens} + {found.new_tokens} tokens"
        return BatchPlan(
            found.c_best, 0, None, f"{counted(found.c_best, 'row')} at once, as tuned for rows of {lengths}"
        )
    at_once = remote.at_once if remote is not None else None
    if at_once is not None and at_once < DEFAULT_CONCURRENCY:
        return BatchPlan(at_once, 0, None, f"{counted(at_once, 'row')} at once, as many as the server takes")
    return BatchPlan(DEFAULT_CONCURRENCY, 0, None, f"{DEFAULT_CONCURRENCY} rows at once (--concurrency sets it)")


def _tuning(
    manifest: Manifest, loaded: Loaded, environ: Mapping[str, str], engine_pid: int | None
) -> tuple[Tuning | None, Tuning | None, str]:
    """The newest one of this model, compute type, workers and threads whose conditions hold; the newest that free
    memory has room for as well; and what keeps the first from being used, "" where it is."""
    wanted = (manifest.name, loaded.compute_type, loaded.workers, loaded.threads)
    stored = [
        one
        for one in TUNINGS.read(home(environ))[0]
        if (one.model_name, one.conditions.compute_type, one.workers, one.threads) == wanted
    ]
    if not stored:
        return None, None, ""
    now = conditions(manifest, loaded.device, loaded.compute_type, bucket(1), loaded.device_uuid)
    held = [one for one in stored if not stale(one, now)]
    usable = usable_bytes(loaded.device, loaded.device_uuid, engine_pid) if held else None
    newest = next(iter(held), None)
    short = stale(newest, now, usable) if newest else ""
    return newest, next((one for one in held if not stale(one, now, usable)), None), short


def _cost(tuning: Tuning) -> Cost | None:
    """The tuner's fits, where they were kept."""
    values = [getattr(tuning, field.name, None) for field in msgspec.structs.fields(Cost)]
    known = [value for value in values if isinstance(value, float)]
    return Cost(*known) if len(known) == len(values) and any(known) else None
