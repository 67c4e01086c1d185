"""NVIDIA GPUs, as their driver reports them through NVML (module pynvml of nvidia-ml-py).

Nothing here may run in a thread that must not wait: any call can hang in the driver.
"""

from __future__ import annotations

from phitui.hardware.figures import Missing, Sheet
from phitui.hardware.host.os_processes import ProcessTable
from phitui.hardware.nvml.card import Card
from phitui.hardware.nvml.device_figures import cuda_version
from phitui.hardware.nvml.driver import GpuLostError, call, cuda_driver_version, gpu_count
from phitui.hardware.snapshot import Reading

_COUNT_PERIOD_S = 10.0


class Gpus:
    """All GPUs of the driver, kept open from reading to reading.

    A GPU that is lost keeps its row, with the reason, while the others go on. A fresh handle for it is tried
    at every reading, and a fresh start of NVML (for a reset or a reloaded driver) after 5 s at the soonest,
    then more and more rarely, down to once a minute, while it does not help. How many there are is asked
    every 10 s, and a card that was added is looked for by a fresh start.
    """

    _FIRST_WAIT_S = 5.0
    _LONGEST_WAIT_S = 60.0

    def __init__(self) -> None:
        self._cards: list[Card] = []
        self._ready = False
        self._reason = ""
        self._wait_s = self._FIRST_WAIT_S
        self._restart_due = float("-inf")
        self._count_due = float("-inf")
        self._table = ProcessTable()
        self._versions: tuple[str | None, str | None] = (None, None)
        self._no_version: dict[str, str] = {}

    def read(self, now: float) -> Reading:
        """Ask the driver. `now` is a monotonic time in seconds: what moves slowly is asked every 5 s."""
        if self._cards and all(card.handle is not None for card in self._cards):
            self._wait_s = self._FIRST_WAIT_S
            if self._one_was_added(now):
                self._restart(now)
        elif now >= self._restart_due:
            self._restart(now)
        elif self._ready:
            self._reopen()
        devices = [device for card in self._cards for device in card.read(now)]
        self._table.forget(now)
        return Reading(devices, "" if self._cards else self._reason, *self._versions, self._no_version)

    def close(self) -> None:
        """Let go of the driver."""
        for card in self._cards:
            card.close()
        if self._ready:
            self._ready = False
            call("nvmlShutdown")

    def _restart(self, now: float) -> None:
        self._restart_due = now + self._wait_s
        self._wait_s = min(2 * self._wait_s, self._LONGEST_WAIT_S)
        self.close()
        answer = call("nvmlInitWithFlags", 0)
        self._ready = not isinstance(answer, Missing)
        if isinstance(answer, Missing):
            self._lose_all(answer.reason)
        else:
            self._read_versions()
            self._find()
            self._count_due = now + _COUNT_PERIOD_S

    def _read_versions(self) -> None:
        sheet = Sheet()
        driver = sheet.text("driver", call("nvmlSystemGetDriverVersion"))
        self._versions = driver, cuda_version(sheet, cuda_driver_version())
        self._no_version = sheet.unavailable

    def _one_was_added(self, now: float) -> bool:
        if now < self._count_due:
            return False
        self._count_due = now + _COUNT_PERIOD_S
        count = gpu_count()
        return not isinstance(count, Missing) and count > len(self._cards)

    def _reopen(self) -> None:
        for card in self._cards:
            if card.handle is None:
                try:
                    card.open()
                except GpuLostError as error:
                    card.lose(str(error))

    def _lose_all(self, reason: str) -> None:
        self._reason = reason
        for card in self._cards:
            card.lose(reason)

    def _find(self) -> None:
        """Open every card that the driver lists; those that it lists no more are lost."""
        count = gpu_count()
        if isinstance(count, Missing):
            self._lose_all(count.reason)
            return
        listed: list[Card] = []
        for index in range(count):
            listed.append(self._find_one(index, listed))
        for card in self._cards:
            if card not in listed:
                card.lose("the driver no longer lists this GPU")
        self._cards += [card for card in listed if card not in self._cards]

    def _find_one(self, index: int, listed: list[Card]) -> Card:
        found = Card(index, self._table)
        reason = ""
        try:
            found.open()
        except GpuLostError as error:
            reason = str(error)
        known = self._known(found, listed)
        if known is None:
            found.reason = reason
            return found
        if found.handle is None:
            known.lose(reason)
        else:
            known.adopt(found)
        return known

    def _known(self, found: Card, listed: list[Card]) -> Card | None:
        """The row that `found` had before: by UUID, or by its place where one of them has no UUID."""
        uuid = found.identity.uuid
        rest = [card for card in self._cards if card not in listed]
        same = [card for card in rest if uuid is not None and card.identity.uuid == uuid]
        place = [card for card in rest if card.driver_index == found.driver_index and card.may_be(uuid)]
        return next(iter(same or place), None)
