"""Parking: the memory of an idle model is given back, and taken again for the next prompt."""

from __future__ import annotations

import contextlib
import ctypes
import time
from typing import Any

from phitui.core.errors import UnavailableError
from phitui.engine.protocol.api import Loaded
from phitui.engine.worker.loading import is_out_of_memory
from phitui.hardware.host.cpu import memory


def bytes_in_memory(loaded: Loaded) -> int:
    """What the weights take where they are computed with: loading may have made them larger than their file, as int8
    that runs in float16. Without a footprint their file's size."""
    return loaded.weight_bytes if loaded.footprint is None else loaded.footprint.weights


def check_host_room(needed_bytes: int, available_bytes: int | None) -> None:
    """Raise UnavailableError where the host's RAM cannot take the weights of a card.

    Without this the kernel would end a process, most likely this one. `available_bytes` of None is not known: tried
    then.
    """
    if available_bytes is not None and needed_bytes > available_bytes:
        raise UnavailableError(
            f"host RAM is short for parking: needs {needed_bytes / 2**30:.1f} GiB, "
            f"{available_bytes / 2**30:.1f} GiB free",
            "Stop other programs that use it; until then the model stays on the card",
        )


class Parking:
    """One generator's place. `device` is "cuda" or "cpu"; `weight_bytes` is what the weights take."""

    def __init__(self, generator: Any, device: str, weight_bytes: int) -> None:
        self._generator = generator
        self._device = device
        self._weight_bytes = weight_bytes
        self.parked = False

    def park(self) -> str:
        """Give the memory back; returns where the weights are now.

        On CUDA they move to host memory, from where they are back in the time that PCIe takes. On the CPU that is
        where they are: they are dropped, and read from disk again. CTranslate2 does nothing while a job is active,
        so this is for an idle engine. Raises UnavailableError where the host has no room for them: nothing is changed.
        """
        on_card = self._device == "cuda"
        if on_card:
            available = memory()[1]
            check_host_room(self._weight_bytes, available if isinstance(available, int) else None)
        self._generator.unload_model(to_cpu=on_card)
        self.parked = True
        with contextlib.suppress(OSError, AttributeError):  # glibc keeps what was freed unless it is told
            ctypes.CDLL(None).malloc_trim(0)
        return "host memory" if on_card else "disk"

    def wake(self) -> float:
        """Take the memory again; returns the seconds it took.

        Raises UnavailableError where there is not enough by now: the model stays parked.
        """
        started = time.perf_counter()
        try:
            self._generator.load_model()
        except RuntimeError as error:
            what = "there is not enough free memory" if is_out_of_memory(error) else str(error)
            raise UnavailableError(f"the parked model cannot be brought back: {what}", "Try again later") from error
        self.parked = False
        return time.perf_counter() - started
