"""What the tuner has found for servers, from one start to the next."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path

from phitui.autotune.server_search import ServerGoal, ServerTuneAnswer
from phitui.config.layers import home
from phitui.engine.protocol.api import Loaded, Remote
from phitui.storage.server_tunings import (
    FILE_NAME,
    ServerTuning,
    ServerTuningKey,
    read_load_tunings,
    stale_server_tuning,
    write_load_tuning,
)


def load_tunings_file(environ: Mapping[str, str] = os.environ) -> Path:
    """Where they are kept."""
    return home(environ) / FILE_NAME


def key_for(remote: Remote, goal: ServerGoal) -> ServerTuningKey:
    return ServerTuningKey(remote.name, remote.host, goal.prompt_tokens, goal.new_tokens)


def problem_of(tuning: ServerTuning, remote: Remote) -> str:
    """Why it does not hold for this server now, "" where it does."""
    return stale_server_tuning(tuning, remote.model, remote.kind, remote.at_once)


def tuned_for(loaded: Loaded, environ: Mapping[str, str] = os.environ) -> ServerTuning | None:
    """The newest one of this engine that holds now, whatever its lengths."""
    remote = loaded.remote
    if remote is None:
        return None
    mine, _ = of_server(remote, environ)
    return next((one for one in mine if not problem_of(one, remote)), None)


def of_server(remote: Remote, environ: Mapping[str, str] = os.environ) -> tuple[list[ServerTuning], str]:
    """All of this engine, newest first, and "" or what is wrong with their file."""
    stored, problem = read_load_tunings(load_tunings_file(environ))
    return [one for one in stored if (one.key.engine, one.key.host) == (remote.name, remote.host)], problem


def earlier_load(
    remote: Remote, goal: ServerGoal, environ: Mapping[str, str] = os.environ
) -> tuple[ServerTuning | None, str]:
    """The stored one of this engine and these lengths, and why it does not hold now ("" where it does). Without one the
    second is "", or what is wrong with the file."""
    stored, problem = read_load_tunings(load_tunings_file(environ))
    key = key_for(remote, goal)
    found = next((one for one in stored if one.key == key), None)
    return (None, problem) if found is None else (found, problem_of(found, remote))


def remember_load(
    remote: Remote, goal: ServerGoal, answer: ServerTuneAnswer, environ: Mapping[str, str] = os.environ
) -> str:
    """As `tune.saved.remember`."""
    kept = ServerTuning(
        key=key_for(remote, goal),
        model=remote.model,
        kind=remote.kind,
        at_once=remote.at_once,
        made=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        c_max=answer.c_max,
        c_best=answer.c_best,
        c_slo=answer.c_slo,
        tokens_per_s=round(answer.tokens_per_s, 3),
        spread=answer.spread,
        measurements=answer.measurements,
        why=answer.why,
    )
    return write_load_tuning(load_tunings_file(environ), kept)
