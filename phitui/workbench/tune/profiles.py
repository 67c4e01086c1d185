"""The stored tunings as a list, of this machine or of a server: when each was made, and whether it holds now."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from msgspec.structs import replace

from phitui.config.layers import home, models_dir
from phitui.core.errors import PhituiError
from phitui.engine.protocol.api import Remote
from phitui.hardware.nvml.probe import probe_driver
from phitui.models.manifest import Manifest, read_manifest
from phitui.storage.tunings import SERVER_TUNINGS, TUNINGS, Conditions, ServerTuning, Tuning, stale
from phitui.workbench.measure.usable import usable_bytes
from phitui.workbench.tune.saved import conditions, of_server, problem_of


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
    stored, problem = TUNINGS.read(home(environ))
    # Each model and each card is asked once.
    now = cache(lambda name, card: _now(name, card, [*([Path(folder)] if folder else []), models_dir(environ) / name]))
    usable = cache(lambda device, card: usable_bytes(device, card, engine_pid))

    def judged(tuning: Tuning) -> KeptTuning:
        of = tuning.conditions
        card = of.device if of.driver else ""  # a CPU has no driver
        found = now(tuning.model_name, card)
        if found is None:
            return KeptTuning(tuning, "its model is not here")
        # Compute type and length are a tuning's own: they say for what it is, not whether it holds.
        found = replace(found, compute_type=of.compute_type, bucket=of.bucket)
        return KeptTuning(tuning, stale(tuning, found, usable("cuda" if card else "cpu", card)))

    return [judged(tuning) for tuning in stored], problem


def _now(name: str, card: str, folders: list[Path]) -> Conditions | None:
    """What holds now for the model `name`, on the `card` that a tuning was made on ("": on the CPU): of several that
    the driver lists it is this one that counts. None where the model is in none of the folders."""
    manifest = next((one for folder in folders if (one := _manifest(folder)) is not None and one.name == name), None)
    if manifest is None or not card:
        return conditions(manifest, "cpu", "", 0) if manifest is not None else None
    listed = any(gpu.uuid == card for gpu in probe_driver().gpus)
    return conditions(manifest, "cuda", "", 0, card if listed else "")


def _manifest(folder: Path) -> Manifest | None:
    try:
        return read_manifest(folder)
    except PhituiError:
        return None


def server_profiles(remote: Remote, environ: Mapping[str, str] = os.environ) -> tuple[list[KeptTuning], str]:
    """As `profiles`, those of this server."""
    stored, problem = of_server(remote, environ)
    return [KeptTuning(tuning, problem_of(tuning, remote)) for tuning in stored], problem


def forget(profile: KeptTuning, environ: Mapping[str, str] = os.environ) -> None:
    """Take it out of its file. Raises PhituiError where that cannot be read or written."""
    if isinstance(profile.tuning, ServerTuning):
        SERVER_TUNINGS.remove(home(environ), profile.tuning)
    else:
        TUNINGS.remove(home(environ), profile.tuning)
