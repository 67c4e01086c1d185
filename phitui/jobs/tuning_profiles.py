"""The stored tunings as a list: when each was made, and whether it holds now."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from phitui.config import models_dir
from phitui.errors import PhituiError
from phitui.hardware.cpu import memory
from phitui.hardware.system import attempt, psutil
from phitui.jobs.tunings import conditions, tunings_file
from phitui.models.manifest import Manifest, read_manifest
from phitui.store.tunings import Conditions, Tuning, read_tunings, stale


@dataclass(frozen=True)
class Profile:
    """A stored tuning, and why it does not hold now ("" where it does)."""

    tuning: Tuning
    problem: str


def profiles(
    folder: str | None, engine_pid: int | None, environ: Mapping[str, str] = os.environ
) -> tuple[list[Profile], str]:
    """All of them, newest first, and "" or what is wrong with their file. `folder` is the model that the engine has;
    other models are looked for in the store. Asks the driver and reads manifests, so not for the event loop."""
    stored, problem = read_tunings(tunings_file(environ))
    return _Judge(folder, engine_pid, environ).all(stored), problem


class _Judge:
    """Asks for what holds now once for each model and device."""

    def __init__(self, folder: str | None, engine_pid: int | None, environ: Mapping[str, str]) -> None:
        self._folder = Path(folder) if folder else None
        self._store = models_dir(environ)
        self._usable = usable_ram(engine_pid)
        self._now: dict[tuple[str, str], Conditions | None] = {}

    def all(self, stored: list[Tuning]) -> list[Profile]:
        return [Profile(tuning, self._problem(tuning)) for tuning in stored]

    def _problem(self, tuning: Tuning) -> str:
        device = "cuda" if tuning.conditions.driver else "cpu"  # a CPU has none
        key = (tuning.model_name, device)
        if key not in self._now:
            self._now[key] = self._conditions(tuning.model_name, device)
        now = self._now[key]
        if now is None:
            return "its model is not here"
        # What a card has free only its engine can say: the next tuning does.
        return stale(tuning, _as_of(now, tuning), self._usable if device == "cpu" else None)

    def _conditions(self, name: str, device: str) -> Conditions | None:
        manifest = self._manifest(name)
        return None if manifest is None else conditions(manifest, device, "", 0)

    def _manifest(self, name: str) -> Manifest | None:
        for folder in filter(None, (self._folder, self._store / name)):
            try:
                manifest = read_manifest(folder)
            except PhituiError:
                continue
            if manifest.name == name:
                return manifest
        return None


def _as_of(now: Conditions, tuning: Tuning) -> Conditions:
    """Compute type and length are a tuning's own: they say for what it is, not whether it holds."""
    return replace(now, compute_type=tuning.conditions.compute_type, bucket=tuning.conditions.bucket)


def usable_ram(engine_pid: int | None) -> int | None:
    """RAM in bytes that an engine may hold in all: what is available, and what the present one has. None where that is
    not known."""
    _, available = memory()
    if not isinstance(available, int):
        return None
    held = attempt(lambda: int(psutil().Process(engine_pid).memory_info().rss)) if engine_pid is not None else 0
    return available + held if isinstance(held, int) else available
