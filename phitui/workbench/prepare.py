"""Brings a model into the store in a process of its own, and its folder back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from phitui.core.errors import PhituiError
from phitui.core.ipc.frames import FrameError
from phitui.core.ipc.messages import Failure, Progress
from phitui.core.ipc.parent import Child
from phitui.models.messages import Prepared, Reply, Request

PREPARE = "phitui.models.prepare"


async def prepare(request: Request, log: Path, tell: Callable[[Progress], None]) -> Path:
    """Do what `request` asks; returns the model's folder. `tell` is called with each step.

    Raises PhituiError with the reason when it cannot be done. Cancelling ends the process; the store is left as it
    was.
    """
    child = await Child.start(PREPARE, Reply, log, ("HF_", "HUGGING_FACE_", "PIP_"))
    try:
        await child.send(request)
        async for reply in child.messages():
            if isinstance(reply, Prepared):
                return Path(reply.folder)
            if isinstance(reply, Failure):
                raise reply.error()
            tell(reply)
        raise PhituiError(f"preparing the model stopped ({await child.epitaph()})", f"See {log}, then try again")
    except FrameError as error:
        raise PhituiError(f"preparing the model stopped: {error}", f"See {log}") from error
    finally:
        await child.stop()
