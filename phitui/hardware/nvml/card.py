"""One NVIDIA card: its handle while it has one, and what is asked of it once, every second, and every 5 s."""

from __future__ import annotations

from typing import Any

from phitui.hardware.figures import BOUNDS, WAITING, Missing, Sheet
from phitui.hardware.host.cpu import memory
from phitui.hardware.host.os_processes import PERIOD_S, SECOND_READING_S, ProcessTable
from phitui.hardware.nvml import fields
from phitui.hardware.nvml.device_figures import MEMORY, device_of, part
from phitui.hardware.nvml.driver import GpuLostError, Question, ask, call
from phitui.hardware.nvml.gpm import ANY_TENSOR_UTIL, DRAM_BW_UTIL, SM_UTIL, Gpm
from phitui.hardware.nvml.gpu_processes import gpu_processes
from phitui.hardware.nvml.mig import Slices
from phitui.hardware.snapshot import Device

Questions = tuple[Question, ...]

# Never changes while the handle lives. Of the link, what card and slot can do together.
_STATIC: dict[str, Questions] = {
    "sm_clock_max_mhz": (("nvmlDeviceGetMaxClockInfo", (1,)),),
    "mem_clock_max_mhz": (("nvmlDeviceGetMaxClockInfo", (2,)),),
    "bus_width_bits": (("nvmlDeviceGetMemoryBusWidth", ()),),
    "link.generation_max": (("nvmlDeviceGetMaxPcieLinkGeneration", ()),),
    "link.width_max": (("nvmlDeviceGetMaxPcieLinkWidth", ()),),
}
_UTIL: Questions = (("nvmlDeviceGetUtilizationRates", ()),)
_ENERGY: Questions = (("nvmlDeviceGetTotalEnergyConsumption", ()),)
_FAST: dict[str, Questions] = {
    "vram": MEMORY,
    "power_w": (("nvmlDeviceGetPowerUsage", ()),),
    "sm_clock_mhz": (("nvmlDeviceGetClockInfo", (1,)),),
    "mem_clock_mhz": (("nvmlDeviceGetClockInfo", (2,)),),
    "throttle_reasons": (
        ("nvmlDeviceGetCurrentClocksEventReasons", ()),
        ("nvmlDeviceGetCurrentClocksThrottleReasons", ()),
    ),
}
_FAST_FIELDS = (fields.POWER_INSTANT, fields.PCIE_TX_BYTES, fields.PCIE_RX_BYTES)
# Asked rarely: a fan speed takes 137 µs, a list of processes milliseconds, and none of them moves fast.
_SLOW: dict[str, Questions] = {
    "power_limit_w": (("nvmlDeviceGetEnforcedPowerLimit", ()), ("nvmlDeviceGetPowerManagementLimit", ())),
    "temperature_c": (("nvmlDeviceGetTemperatureV", (0,)), ("nvmlDeviceGetTemperature", (0,))),
    "fan_pct": (("nvmlDeviceGetFanSpeed", ()),),
    "link.generation": (("nvmlDeviceGetCurrPcieLinkGeneration", ()),),
    "link.width": (("nvmlDeviceGetCurrPcieLinkWidth", ()),),
}
_SLOW_PERIOD_S = 5.0
_FASTEST_MJ_PER_S = BOUNDS["power_w"].high * 1000


class Counter:
    """What the driver only counts up, from reading to reading."""

    def __init__(self) -> None:
        self._last: tuple[float, float] | None = None

    def rate(self, answer: Any, now: float) -> Any:
        """Counts per second since the reading before, or Missing. `now` is a monotonic time in seconds."""
        if isinstance(answer, Missing):
            return answer
        last, self._last = self._last, (answer, now)
        if last is None:
            return WAITING
        value, then = last
        if now <= then:
            return Missing("no time has passed since the reading before")
        if answer < value:
            return Missing("the driver's counter went backwards")
        return (answer - value) / (now - then)

    def total(self, answer: Any, now: float, fastest_per_s: float) -> Any:
        """`answer` itself, or Missing where the step since the reading before cannot be."""
        rate = self.rate(answer, now)
        if isinstance(rate, Missing):
            return answer if rate == WAITING else rate
        return answer if rate <= fastest_per_s else Missing("the driver's counter jumped")


class Card:
    """One GPU with its slices. `lose` and `close` let go of what it holds in the driver."""

    def __init__(self, index: int, table: ProcessTable) -> None:
        self.driver_index = index  # where the driver lists it; may shift when another card is gone
        self.identity = Device("gpu", index, f"GPU {index}")
        self.handle: Any = None
        self.reason = ""
        self._table = table
        self._slices = Slices()
        self._gpm: Gpm | None = None
        self._forget()

    def _forget(self) -> None:
        self._static: dict[str, Any] = {}
        self._slow: dict[str, Any] = {}
        self._processes: Any = None
        self._slow_due = self._processes_due = float("-inf")
        self._counters = {name: Counter() for name in ("energy", "tx", "rx")}

    def open(self) -> None:
        """Take a fresh handle by the driver's index, and who the card is. Raises GpuLostError."""
        handle = call("nvmlDeviceGetHandleByIndex", self.driver_index)
        if isinstance(handle, Missing):
            raise GpuLostError(handle.reason)
        sheet = Sheet()
        uuid = sheet.text("uuid", ask(handle, (("nvmlDeviceGetUUID", ()),)))
        if not self.may_be(uuid):
            raise GpuLostError("another GPU is in its place")
        shown = self.identity.index
        name = sheet.text("name", ask(handle, (("nvmlDeviceGetName", ()),))) or f"GPU {shown}"
        self.close()
        self.identity = Device("gpu", shown, name, uuid, unavailable=sheet.unavailable)
        self.handle = handle

    def adopt(self, fresh: Card) -> None:
        """Go on with what `fresh`, just opened, has found to be the same card."""
        self.close()
        found = fresh.identity
        self.identity = Device("gpu", self.identity.index, found.name, found.uuid, unavailable=found.unavailable)
        self.handle, self.driver_index = fresh.handle, fresh.driver_index

    def may_be(self, uuid: str | None) -> bool:
        """Whether a card of this UUID can be this one: the same, or one of the two is not known."""
        return self.identity.uuid is None or uuid is None or uuid == self.identity.uuid

    def lose(self, reason: str) -> None:
        """The driver no longer answers for it."""
        self.close()
        self.reason = reason

    def close(self) -> None:
        """Give back what the driver lent, before NVML is shut down. Slices keep their rows until the card is back."""
        if self._gpm is not None:
            self._gpm.close()
        self.handle = self._gpm = None
        self._forget()

    def read(self, now: float) -> list[Device]:
        """The card, and its slices where it is divided. Raises nothing."""
        if self.handle is not None:
            try:
                answers = {**self._asked_once(), **self._asked_rarely(now), **self._asked_always(now)}
                slices = self._slices.read(self.identity, self._table, now)
                return [device_of(self.identity, answers), *slices]
            except GpuLostError as error:
                self.lose(str(error))
        rows = [self.identity, *self._slices.identities(self.identity)]
        return [row.without_figures(self.reason) for row in rows]

    def _asked_once(self) -> dict[str, Any]:
        if not self._static:
            self._gpm = Gpm(self.handle)
            self._static = {metric: ask(self.handle, questions) for metric, questions in _STATIC.items()}
        return self._static

    def _asked_rarely(self, now: float) -> dict[str, Any]:
        if now >= self._slow_due:
            self._slow = {metric: ask(self.handle, questions) for metric, questions in _SLOW.items()}
            told = fields.field_values(self.handle, (fields.MEMORY_TEMPERATURE,))
            self._slow["memory_temperature_c"] = told[fields.MEMORY_TEMPERATURE]
            self._slices.find(self.handle)
            self._slow_due = now + _SLOW_PERIOD_S
        if now >= self._processes_due:
            first = self._processes is None
            self._processes = gpu_processes(self.handle, self._table, now)
            self._processes_due = now + (SECOND_READING_S if first else PERIOD_S)
        return {**self._slow, "processes": self._processes}

    def _asked_always(self, now: float) -> dict[str, Any]:
        answers = {metric: ask(self.handle, questions) for metric, questions in _FAST.items()}
        util = ask(self.handle, _UTIL)
        energy = ask(self.handle, _ENERGY)
        told = fields.field_values(self.handle, _FAST_FIELDS)
        counters = self._gpm.read(now) if self._gpm else {}
        shared = _of_ram(answers["vram"])
        return {
            **answers,
            "vram": shared or answers["vram"],
            "shares_ram": shared is not None,
            "util_pct": part(util, "gpu"),
            "memory_busy_pct": part(util, "memory"),
            "energy_j": self._counters["energy"].total(energy, now, _FASTEST_MJ_PER_S),
            "power_instant_w": told[fields.POWER_INSTANT],
            "link.tx_gb_s": self._counters["tx"].rate(told[fields.PCIE_TX_BYTES], now),
            "link.rx_gb_s": self._counters["rx"].rate(told[fields.PCIE_RX_BYTES], now),
            "dram_bw_pct": counters[DRAM_BW_UTIL],
            "sm_active_pct": counters[SM_UTIL],
            "tensor_active_pct": counters[ANY_TENSOR_UTIL],
        }


class _SharedMemory:
    """The machine's RAM in the shape of NVML's memory info."""

    def __init__(self, total: Any, available: Any) -> None:
        self.total, self.free = total, available
        unknown = next((answer for answer in (total, available) if isinstance(answer, Missing)), None)
        self.used = total - available if unknown is None else unknown
        self.reserved = Missing("RAM has no driver's reserve")


def _of_ram(answer: Any) -> _SharedMemory | None:
    """The machine's RAM where the card has no memory of its own, as a GB10: it answers "not supported"."""
    if not isinstance(answer, Missing) or answer.code != 3:
        return None
    return _SharedMemory(*memory())
