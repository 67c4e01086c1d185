"""The stored tunings as a list, of this machine or of a server: when each was made, and whether it holds now."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from phitui.config.layers import models_dir
from phitui.core.errors import PhituiError
from phitui.engine.protocol.api import Remote
from phitui.hardware.nvml.probe import probe_driver
from phitui.models.manifest import Manifest, read_manifest
from phitui.storage.server_tunings import ServerTuning, remove_load_tuning
from phitui.storage.tunings import Conditions, Tuning, read_tunings, remove_tuning, stale
from phitui.workbench.measure.usable import usable_bytes
from phitui.workbench.tune.events import TuneResult
from phitui.workbench.tune.saved import conditions, remember, tunings_file
from phitui.workbench.tune.saved_server import load_tunings_file, of_server, problem_of, remember_load
from phitui.workbench.tune.server import ServerTuneResult


@dataclass(frozen=True)
class KeptTuning:
    """A stored tuning, and why it does not hold now ("" where it does)."""

    tuning: Tuning | ServerTuning
    problem: str


def profiles(
    folder: str | None, engine_pid: int | None, environ: Mapping[str, str] = os.environ
) -> tuple[list[KeptTuning], str]:
    """All of them, newest first, and "" or what is wrong with their file. `folder` is the model that the engine has;
    other models are looked for in the store. Asks the driver and reads manifests, so not for the event loop."""
    stored, problem = read_tunings(tunings_file(environ))
    return _Judge(folder, engine_pid, environ).all(stored), problem


def server_profiles(remote: Remote, environ: Mapping[str, str] = os.environ) -> tuple[list[KeptTuning], str]:
    """As `profiles`, those of this server."""
    stored, problem = of_server(remote, environ)
    return [KeptTuning(tuning, problem_of(tuning, remote)) for tuning in stored], problem


def keep(result: TuneResult | ServerTuneResult, environ: Mapping[str, str] = os.environ) -> str:
    """Keep what a tuning has found; returns "", or what became of a file that cannot be read. Raises PhituiError where
    it cannot be written."""
    if isinstance(result, ServerTuneResult):
        return remember_load(result.remote, result.goal, result.answer, environ)
    return remember(result, environ)


def forget(profile: KeptTuning, environ: Mapping[str, str] = os.environ) -> None:
    """Take it out of its file. Raises PhituiError where that cannot be read or written."""
    if isinstance(profile.tuning, ServerTuning):
        remove_load_tuning(load_tunings_file(environ), profile.tuning)
    else:
        remove_tuning(tunings_file(environ), profile.tuning)


class _Judge:
    """Asks for what holds now once for each model and device."""

    def __init__(self, folder: str | None, engine_pid: int | None, environ: Mapping[str, str]) -> None:
        self._folder = Path(folder) if folder else None
        self._store = models_dir(environ)
        self._engine_pid = engine_pid
        self._usable: dict[str, int | None] = {}  # by card, "" for the RAM
        self._now: dict[tuple[str, str], Conditions | None] = {}

    def all(self, stored: list[Tuning]) -> list[KeptTuning]:
        return [KeptTuning(tuning, self._problem(tuning)) for tuning in stored]

    def _problem(self, tuning: Tuning) -> str:
        device = "cuda" if tuning.conditions.driver else "cpu"  # a CPU has none
        key = (tuning.model_name, tuning.conditions.device if device == "cuda" else "")
        if key not in self._now:
            self._now[key] = self._conditions(tuning.model_name, device, key[1])
        now = self._now[key]
        if now is None:
            return "its model is not here"
        return stale(tuning, _as_of(now, tuning), self._usable_on(device, key[1]))

    def _usable_on(self, device: str, card: str) -> int | None:
        if card not in self._usable:
            self._usable[card] = usable_bytes(device, card, self._engine_pid)
        return self._usable[card]

    def _conditions(self, name: str, device: str, card: str) -> Conditions | None:
        """`card` is the one that a tuning was made on: of several that the driver lists it is this one that counts."""
        manifest = self._manifest(name)
        if manifest is None:
            return None
        listed = device == "cuda" and any(gpu.uuid == card for gpu in probe_driver().gpus)
        return conditions(manifest, device, "", 0, card if listed else "")

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
