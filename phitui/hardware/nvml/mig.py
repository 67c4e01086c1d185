"""MIG: a card that is divided into slices, each a device with memory of its own."""

from __future__ import annotations

import math
import re
from typing import Any

from phitui.hardware.figures import Missing, Sheet
from phitui.hardware.host.os_processes import PERIOD_S, SECOND_READING_S, ProcessTable
from phitui.hardware.nvml.device_figures import ANSWERS, MEMORY, device_of, part
from phitui.hardware.nvml.driver import GpuLostError, ask, call
from phitui.hardware.nvml.gpu_processes import gpu_processes
from phitui.hardware.snapshot import Device

_MOST_SLICES = 16
_NOT_APART = Missing("the driver does not report it apart for a slice of a card")
# "NVIDIA H100 80GB HBM3 MIG 1g.10gb", "… MIG 1c.3g.40gb", "… MIG 1g.10gb+me"
_PROFILE = re.compile(r"\bMIG ((?:\d+c\.)?\d+g\.\d+gb(?:\+[\w.]+)*)")
_MB = 1 << 20
_GB = 1 << 30


class _Slice:
    def __init__(self, handle: Any, identity: Device) -> None:
        self.handle = handle
        self.identity = identity
        self.processes: Any = _NOT_APART
        self.processes_due = float("-inf")


class Slices:
    """The slices of one card, in the driver's order."""

    def __init__(self) -> None:
        self._slices: list[_Slice] = []

    def find(self, card: Any) -> None:
        """Look at how the card of this handle is divided now. Raises GpuLostError."""
        mode = ask(card, (("nvmlDeviceGetMigMode", ()),))
        if isinstance(mode, Missing) or mode[0] != 1:
            self._slices = []
            return
        most = ask(card, (("nvmlDeviceGetMaxMigDeviceCount", ()),))
        count = most if isinstance(most, int) else 0
        found = (call("nvmlDeviceGetMigDeviceHandleByIndex", card, place) for place in range(min(count, _MOST_SLICES)))
        known: dict[str | None, _Slice] = {one.identity.uuid: one for one in self._slices if one.identity.uuid}
        self._slices = [self._slice(card, handle, known) for handle in found if not isinstance(handle, Missing)]

    def _slice(self, card: Any, handle: Any, known: dict[str | None, _Slice]) -> _Slice:
        sheet = Sheet()
        uuid = sheet.text("uuid", _patient(handle, "nvmlDeviceGetUUID"))
        piece = known.pop(uuid, None)
        if piece is None:
            name = sheet.text("name", _patient(handle, "nvmlDeviceGetName")) or "MIG device"
            identity = Device("gpu", 0, name, uuid, mig=_profile(card, handle, name), unavailable=sheet.unavailable)
            piece = _Slice(handle, identity)
        piece.handle = handle
        return piece

    def identities(self, card: Device) -> list[Device]:
        """Each slice without figures; `card` says the index that they have in common."""
        pieces = (piece.identity for piece in self._slices)
        return [
            Device("gpu", card.index, one.name, one.uuid, mig=one.mig, unavailable=one.unavailable) for one in pieces
        ]

    def read(self, card: Device, table: ProcessTable, now: float) -> list[Device]:
        """Memory and processes of each slice; nothing else is told apart. Raises nothing."""
        return [
            self._figures(piece, identity, table, now)
            for piece, identity in zip(self._slices, self.identities(card), strict=True)
        ]

    def _figures(self, piece: _Slice, identity: Device, table: ProcessTable, now: float) -> Device:
        try:
            if now >= piece.processes_due:
                first = isinstance(piece.processes, Missing)
                piece.processes = gpu_processes(piece.handle, table, now)
                piece.processes_due = now + (SECOND_READING_S if first else PERIOD_S)
            answers: dict[str, Any] = dict.fromkeys(ANSWERS, _NOT_APART)
            answers.update(vram=ask(piece.handle, MEMORY), processes=piece.processes, shares_ram=False)
            return device_of(identity, answers)
        except GpuLostError:
            return identity.without_figures("this slice is gone")


def _patient(handle: Any, function: str, *arguments: Any) -> Any:
    """As `ask`, but a slice that has just been taken away does not take its card with it."""
    try:
        return ask(handle, ((function, arguments),))
    except GpuLostError as error:
        return Missing(str(error))


def _profile(card: Any, handle: Any, name: str) -> str:
    """The slice's profile, as "1g.10gb": out of its name, else by its share of the card; "MIG" where neither tells."""
    named = _PROFILE.search(name)
    if named:
        return named[1]
    own = _patient(handle, "nvmlDeviceGetAttributes")
    whole = part(_patient(card, "nvmlDeviceGetMemoryInfo"), "total")
    if isinstance(own, Missing) or not isinstance(whole, int) or whole <= 0:
        return "MIG"
    compute, slices, size = own.computeInstanceSliceCount, own.gpuInstanceSliceCount, own.memorySizeMB * _MB
    if not (1 <= slices <= _MOST_SLICES and 0 < size <= whole):
        return "MIG"
    # The profiles' sizes are eighths of the card's, rounded, as in NVIDIA's go-nvlib.
    gigabytes = round(math.ceil(size / whole * 8) / 8 * math.ceil(whole / _GB))
    prefix = "" if compute == slices else f"{compute}c."
    return f"{prefix}{slices}g.{gigabytes}gb"
