"""NVIDIA GPUs, as their driver reports them through NVML (module pynvml of nvidia-ml-py).

Nothing here may run in a thread that must not wait: any call can hang in the driver.
"""

from __future__ import annotations

from typing import Any

from phitui.hardware.driver import GpuLostError, Question, ask, call, gpu_count
from phitui.hardware.figures import Missing, Sheet
from phitui.hardware.snapshot import Device, Memory, Reading

_MEMORY_V2 = 0x02000028
_UTIL: tuple[Question, ...] = (("nvmlDeviceGetUtilizationRates", ()),)
# The first form counts the driver's reserve as used since R510.
MEMORY: tuple[Question, ...] = (("nvmlDeviceGetMemoryInfo", (_MEMORY_V2,)), ("nvmlDeviceGetMemoryInfo", ()))
_POWER: tuple[Question, ...] = (("nvmlDeviceGetPowerUsage", ()),)
_SM_CLOCK: tuple[Question, ...] = (("nvmlDeviceGetClockInfo", (1,)),)
_MEM_CLOCK: tuple[Question, ...] = (("nvmlDeviceGetClockInfo", (2,)),)
_CLOCK_REASONS: tuple[Question, ...] = (
    ("nvmlDeviceGetCurrentClocksEventReasons", ()),
    ("nvmlDeviceGetCurrentClocksThrottleReasons", ()),
)
_LIMIT: tuple[Question, ...] = (
    ("nvmlDeviceGetEnforcedPowerLimit", ()),
    ("nvmlDeviceGetPowerManagementLimit", ()),
)
_TEMPERATURE: tuple[Question, ...] = (("nvmlDeviceGetTemperatureV", (0,)), ("nvmlDeviceGetTemperature", (0,)))
_FAN: tuple[Question, ...] = (("nvmlDeviceGetFanSpeed", ()),)
# Asked rarely: a fan speed takes 137 µs, and none of them moves fast.
_SLOW = {"power_limit_w": _LIMIT, "temperature_c": _TEMPERATURE, "fan_pct": _FAN}
_SLOW_PERIOD_S = 5.0

# Bits of nvmlClocksEventReasons, by the names in nvml.h.
_CLOCK_REASON_BITS = {
    0x1: "GPU_IDLE",
    0x2: "APPLICATIONS_CLOCKS_SETTING",
    0x4: "SW_POWER_CAP",
    0x8: "HW_SLOWDOWN",
    0x10: "SYNC_BOOST",
    0x20: "SW_THERMAL_SLOWDOWN",
    0x40: "HW_THERMAL_SLOWDOWN",
    0x80: "HW_POWER_BRAKE_SLOWDOWN",
    0x100: "DISPLAY_CLOCK_SETTING",
    0x200: "BOARD_LIMIT",
    0x400: "RELIABILITY",
}


class _Card:
    """One GPU: its handle while it has one, and what is asked once or rarely."""

    def __init__(self, index: int) -> None:
        self.driver_index = index  # where the driver lists it; may shift when another card is gone
        self.identity = Device("gpu", index, f"GPU {index}")
        self.handle: Any = None
        self.reason = ""
        self._slow: dict[str, Any] = {}
        self._slow_due = 0.0

    def open(self) -> None:
        """Take a fresh handle by the driver's index, and the static facts with it. Raises GpuLostError."""
        handle = call("nvmlDeviceGetHandleByIndex", self.driver_index)
        if isinstance(handle, Missing):
            raise GpuLostError(handle.reason)
        sheet = Sheet()
        uuid = sheet.text("uuid", ask(handle, (("nvmlDeviceGetUUID", ()),)))
        if not self.may_be(uuid):
            raise GpuLostError("another GPU is in its place")
        shown = self.identity.index
        name = sheet.text("name", ask(handle, (("nvmlDeviceGetName", ()),))) or f"GPU {shown}"
        self.identity = Device("gpu", shown, name, uuid, unavailable=sheet.unavailable)
        self.handle = handle
        self._slow_due = 0.0

    def adopt(self, fresh: _Card) -> None:
        """Go on with what `fresh` has found to be the same card."""
        identity = fresh.identity
        self.identity = Device(
            "gpu", self.identity.index, identity.name, identity.uuid, unavailable=identity.unavailable
        )
        self.handle, self.driver_index = fresh.handle, fresh.driver_index
        self._slow_due = 0.0

    def may_be(self, uuid: str | None) -> bool:
        """Whether a card of this UUID can be this one: the same, or one of the two is not known."""
        return self.identity.uuid is None or uuid is None or uuid == self.identity.uuid

    def lose(self, reason: str) -> None:
        self.handle, self.reason = None, reason

    def read(self, now: float) -> Device:
        if self.handle is None:
            return self.identity.without_figures(self.reason)
        try:
            return self._figures(now)
        except GpuLostError as error:
            self.lose(str(error))
            return self.identity.without_figures(self.reason)

    def _figures(self, now: float) -> Device:
        sheet = Sheet()
        sheet.unavailable.update(self.identity.unavailable)
        if now >= self._slow_due:
            self._slow = {metric: ask(self.handle, questions) for metric, questions in _SLOW.items()}
            self._slow_due = now + _SLOW_PERIOD_S
        util = ask(self.handle, _UTIL)
        memory = ask(self.handle, MEMORY)
        return Device(
            kind="gpu",
            index=self.identity.index,
            name=self.identity.name,
            uuid=self.identity.uuid,
            util_pct=sheet.real("util_pct", _part(util, "gpu")),
            memory_busy_pct=sheet.real("memory_busy_pct", _part(util, "memory")),
            vram=memory_figures(sheet, memory),
            power_w=sheet.real("power_w", ask(self.handle, _POWER), divisor=1000),  # from mW
            power_limit_w=sheet.real("power_limit_w", self._slow["power_limit_w"], divisor=1000),
            temperature_c=sheet.real("temperature_c", self._slow["temperature_c"]),
            sm_clock_mhz=sheet.whole("sm_clock_mhz", ask(self.handle, _SM_CLOCK)),
            mem_clock_mhz=sheet.whole("mem_clock_mhz", ask(self.handle, _MEM_CLOCK)),
            fan_pct=sheet.real("fan_pct", self._slow["fan_pct"]),
            throttle_reasons=_clock_reasons(sheet, ask(self.handle, _CLOCK_REASONS)),
            unavailable=sheet.unavailable,
        )


def _part(answer: Any, field: str) -> Any:
    return answer if isinstance(answer, Missing) else getattr(answer, field, None)


def memory_figures(sheet: Sheet, answer: Any) -> Memory:
    """VRAM from either form of NVML's memory info; parts that cannot fit into the whole are not shown."""
    if isinstance(answer, Missing) and answer.code == 3:
        answer = Missing("the card reports no memory of its own: it may share the machine's RAM", 3)
    total = sheet.whole("vram.total_bytes", _part(answer, "total"))
    used = sheet.whole("vram.used_bytes", _part(answer, "used"))
    free = sheet.whole("vram.free_bytes", _part(answer, "free"))
    reserved = None
    if isinstance(answer, Missing) or hasattr(answer, "reserved"):
        reserved = sheet.whole("vram.reserved_bytes", _part(answer, "reserved"))
    else:
        sheet.missing("vram.reserved_bytes", "this driver does not tell its reserve apart")
    if total is None or (used or 0) + (free or 0) + (reserved or 0) <= total:
        return Memory(total, used, reserved, free)
    for name in ("used", "reserved", "free"):
        sheet.unavailable.setdefault(f"vram.{name}_bytes", "the driver's figures add up to more than the total")
    return Memory(total)


def _clock_reasons(sheet: Sheet, answer: Any) -> list[str] | None:
    if not isinstance(answer, int):
        reason = answer.reason if isinstance(answer, Missing) else "the answer is no set of bits"
        sheet.missing("throttle_reasons", reason)
        return None
    names = [name for bit, name in _CLOCK_REASON_BITS.items() if answer & bit]
    unknown = answer & ~sum(_CLOCK_REASON_BITS)
    return [*names, f"UNKNOWN_0x{unknown:x}"] if unknown else names


class Gpus:
    """All GPUs of the driver, kept open from reading to reading.

    A GPU that is lost keeps its row, with the reason, while the others go on. A fresh handle for it is tried
    at every reading, and a fresh start of NVML (for a reset or a reloaded driver) after 5 s at the soonest,
    then more and more rarely, down to once a minute, while it does not help. A card that is added
    while all others are well is found when NVML is started again.
    """

    _FIRST_WAIT_S = 5.0
    _LONGEST_WAIT_S = 60.0

    def __init__(self) -> None:
        self._cards: list[_Card] = []
        self._ready = False
        self._reason = ""
        self._wait_s = self._FIRST_WAIT_S
        self._restart_due = float("-inf")

    def read(self, now: float) -> Reading:
        """Ask the driver. `now` is a monotonic time in seconds: temperature, fan and cap keep for 5 s."""
        if self._cards and all(card.handle is not None for card in self._cards):
            self._wait_s = self._FIRST_WAIT_S
        elif now >= self._restart_due:
            self._restart(now)
        elif self._ready:
            self._reopen()
        return Reading([card.read(now) for card in self._cards], "" if self._cards else self._reason)

    def close(self) -> None:
        """Let go of the driver."""
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
            self._find()

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
        listed: list[_Card] = []
        for index in range(count):
            listed.append(self._find_one(index, listed))
        for card in self._cards:
            if card not in listed:
                card.lose("the driver no longer lists this GPU")
        self._cards += [card for card in listed if card not in self._cards]

    def _find_one(self, index: int, listed: list[_Card]) -> _Card:
        found = _Card(index)
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

    def _known(self, found: _Card, listed: list[_Card]) -> _Card | None:
        """The row that `found` had before: by UUID, or by its place where one of them has no UUID."""
        uuid = found.identity.uuid
        rest = [card for card in self._cards if card not in listed]
        same = [card for card in rest if uuid is not None and card.identity.uuid == uuid]
        place = [card for card in rest if card.driver_index == found.driver_index and card.may_be(uuid)]
        return next(iter(same or place), None)
