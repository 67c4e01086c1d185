"""What to do when memory ran out during a batch, from the mildest to the last."""

from __future__ import annotations

import contextlib
import time
from typing import Any

from phitui.core.errors import UnavailableError
from phitui.engine.worker.loading import Model, check_answers


class EngineLostError(UnavailableError):
    """Only a new process helps."""


def recover(model: Model) -> str:
    """Bring the engine back after an error of memory; returns how, in words.

    CUDA may hand out the old error once more at the next call: so one token is made and its failure let pass. If the
    one after it fails as well, the model is loaded anew. Raises EngineLostError where even that does not help.
    """
    wait_idle(model.generator)
    with contextlib.suppress(UnavailableError):
        check_answers(model)
    with contextlib.suppress(UnavailableError):
        check_answers(model)
        return "the engine goes on"
    try:
        model.generator.unload_model()
        model.generator.load_model()
        check_answers(model)
    except (RuntimeError, UnavailableError) as error:
        raise EngineLostError(f"memory ran out, and the model cannot be loaded again: {error}") from error
    return "the model was loaded again"


def wait_idle(generator: Any) -> None:
    """Until no batch runs: going on earlier can abort the process."""
    while generator.num_active_batches or generator.num_queued_batches:
        time.sleep(0.001)
