"""The settings that a tuning stands for, and writing them into the user's configuration."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from msgspec.structs import replace

from phitui.config.layers import Config, read_toml, save_settings, shown_path, user_config_file
from phitui.core.errors import UsageError
from phitui.storage.tunings import ServerTuning, Tuning
from phitui.workbench.tune.events import ServerTuneResult, TuneResult

Settings = dict[str, str | int]
_SERVERS = "engines"


def settings(found: TuneResult | Tuning | ServerTuneResult | ServerTuning) -> Settings:
    """By their dotted names, e.g. "engine.workers"."""
    if isinstance(found, ServerTuning):
        return {f"{_SERVERS}.{found.key.engine}.concurrency": found.c_best}
    if isinstance(found, ServerTuneResult):
        return {f"{_SERVERS}.{found.remote.name}.concurrency": found.answer.c_best}
    if isinstance(found, Tuning):
        workers, threads, kind = found.workers, found.threads, found.conditions.compute_type
        batch, kv_tokens = found.batch, found.kv_tokens
    else:
        workers, threads, kind = found.setup
        batch, kv_tokens = found.answer.b_best, found.answer.kv_token_budget
    return {
        "engine.workers": workers,
        "engine.threads": threads,
        "engine.compute_type": kind,
        "engine.batch": batch,
        "engine.kv_tokens": kv_tokens,
    }


def check_place(chosen: Settings, config: Config, environ: Mapping[str, str] = os.environ) -> None:
    """Raises UsageError where settings are a server's that has no section of its own in the user's config.toml: what
    `apply` would write there had no url beside it. Reads files."""
    for key, value in chosen.items():
        section, _, rest = key.partition(".")
        name, _, field = rest.rpartition(".")
        if section == _SERVERS:
            _check_section(name, f"{field} = {value}", config, user_config_file(environ))


def _check_section(name: str, line: str, config: Config, own: Path) -> None:
    having = [path for path in config.sources if name in read_toml(path).get(_SERVERS, {})]
    if own in having:
        return
    if having:
        raise UsageError(
            f"[{_SERVERS}.{name}] stands in {shown_path(having[-1])}, not in your config.toml", f"Write {line} there."
        )
    url = config.engines[name].url if name in config.engines else ""
    raise UsageError(
        f"{name} is an address without a section in config.toml",
        f'Write [{_SERVERS}.NAME] with url = "{url}" and {line} into {shown_path(own)}.',
    )


def in_words(chosen: Settings) -> str:
    """E.g. "engine.workers = 2, engine.threads = 1"."""
    return ", ".join(f"{key} = {value}" for key, value in chosen.items())


def apply(chosen: Settings, environ: Mapping[str, str] = os.environ) -> Path:
    """Write them into the user's config.toml; returns its path. Raises PhituiError."""
    path = user_config_file(environ)
    save_settings(path, chosen)
    return path


def with_settings(config: Config, chosen: Settings) -> Config:
    """The configuration with these settings of engines in it."""
    for key, value in chosen.items():
        section, _, rest = key.partition(".")
        name, _, field = rest.rpartition(".")
        if section == _SERVERS:
            changed = replace(config.engines[name], **{field: value})
            config = replace(config, engines={**config.engines, name: changed})
        else:
            config = replace(config, engine=replace(config.engine, **{rest: value}))
    return config
