"""The settings that a tuning stands for, and writing them into the user's configuration."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from msgspec.structs import replace

from phitui.config import Config, save_settings, user_config_file
from phitui.jobs.tune_events import TuneResult
from phitui.store.tunings import Tuning

Settings = dict[str, str | int]


def settings(found: TuneResult | Tuning) -> Settings:
    """By their dotted names, e.g. "engine.workers"."""
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


def in_words(chosen: Settings) -> str:
    """E.g. "engine.workers = 2, engine.threads = 1"."""
    return ", ".join(f"{key} = {value}" for key, value in chosen.items())


def apply(chosen: Settings, environ: Mapping[str, str] = os.environ) -> Path:
    """Write them into the user's config.toml; returns its path. Raises PhituiError."""
    path = user_config_file(environ)
    save_settings(path, chosen)
    return path


def with_settings(config: Config, chosen: Settings) -> Config:
    """The configuration with these settings of the engine in it."""
    engine = replace(config.engine, **{key.removeprefix("engine."): value for key, value in chosen.items()})
    return replace(config, engine=engine)
