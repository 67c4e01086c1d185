"""What the NVIDIA driver says of itself and its cards, for `phitui doctor`."""

from __future__ import annotations

from typing import Any

import msgspec

from phitui.hardware.figures import Missing, Sheet
from phitui.hardware.nvml.device_figures import MEMORY, cuda_version, memory_figures
from phitui.hardware.nvml.driver import GpuLostError, Question, ask, call, cuda_driver_version, gpu_count, within

_CAPABILITY: tuple[Question, ...] = (("nvmlDeviceGetCudaComputeCapability", ()),)


class Gpu(msgspec.Struct, frozen=True):
    """A card: CUDA compute capability as "8.9", VRAM in bytes; None has its reason in `unavailable`."""

    index: int
    name: str
    compute_capability: str | None = None
    vram_bytes: int | None = None
    unavailable: dict[str, str] = {}
    uuid: str | None = None

    @property
    def answers(self) -> bool:
        """Whether the card says anything of itself: one that is lost does not."""
        return self.compute_capability is not None or self.vram_bytes is not None


class DriverReport(msgspec.Struct, frozen=True):
    """Versions as "550.54.14" and "12.4" (the newest CUDA that the driver runs), and the cards.

    Without a usable card `reason` says in one line why, and is "" otherwise.
    """

    driver: str | None = None
    cuda: str | None = None
    gpus: list[Gpu] = []
    reason: str = ""
    unavailable: dict[str, str] = {}


def probe_driver(limit_s: float = 5.0) -> DriverReport:
    """Ask the driver, and give up after `limit_s` seconds: some drivers never answer. Raises nothing."""

    def report() -> DriverReport:
        try:
            return ask_driver()
        except Exception as error:  # noqa: BLE001 - the report is what says it
            return DriverReport(reason=f"reading the driver failed: {type(error).__name__}: {error}")

    return within(limit_s, report) or DriverReport(reason=f"the driver has not answered for {limit_s:g} s")


def ask_driver() -> DriverReport:
    """The report, without a limit of time: not from a thread that must not wait."""
    started = call("nvmlInitWithFlags", 0)
    if isinstance(started, Missing):
        return DriverReport(reason=started.reason)
    try:
        return _report()
    finally:
        call("nvmlShutdown")


def _report() -> DriverReport:
    sheet = Sheet()
    driver = sheet.text("driver", call("nvmlSystemGetDriverVersion"))
    cuda = cuda_version(sheet, cuda_driver_version())
    count = gpu_count()
    if isinstance(count, Missing):
        return DriverReport(driver, cuda, reason=count.reason, unavailable=sheet.unavailable)
    gpus = [_gpu(index) for index in range(count)]
    reason = "" if any(gpu.answers for gpu in gpus) else "no card answers"
    return DriverReport(driver, cuda, gpus, reason, sheet.unavailable)


def _gpu(index: int) -> Gpu:
    handle = call("nvmlDeviceGetHandleByIndex", index)
    sheet = Sheet()
    if not isinstance(handle, Missing):
        try:
            return _facts(index, handle, sheet)
        except GpuLostError as error:
            handle = Missing(str(error))
    return Gpu(index, f"GPU {index}", unavailable=dict.fromkeys(("compute_capability", "vram_bytes"), handle.reason))


def _facts(index: int, handle: Any, sheet: Sheet) -> Gpu:
    name = sheet.text("name", ask(handle, (("nvmlDeviceGetName", ()),))) or f"GPU {index}"
    memory = memory_figures(sheet, ask(handle, MEMORY))
    capability = _capability(sheet, ask(handle, _CAPABILITY))
    uuid = sheet.text("uuid", ask(handle, (("nvmlDeviceGetUUID", ()),)))
    return Gpu(index, name, capability, memory.total_bytes, sheet.unavailable, uuid)


def _capability(sheet: Sheet, answer: Any) -> str | None:
    if isinstance(answer, Missing):
        sheet.missing("compute_capability", answer.reason)
        return None
    major, minor = answer
    if not (1 <= major <= 99 and 0 <= minor <= 9):
        sheet.missing("compute_capability", f"the answer is out of range: {major}.{minor}")
        return None
    return f"{major}.{minor}"
