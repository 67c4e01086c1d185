"""Every NVML call that phitui makes, with what came back: what a card's driver can tell, written down."""

from __future__ import annotations

import contextlib
import ctypes
import math
import time
from typing import Any

import msgspec

from phitui.hardware.figures import Missing, clean
from phitui.hardware.nvml.driver import watched, within
from phitui.hardware.nvml.fields import member
from phitui.hardware.nvml.gpus import Gpus
from phitui.hardware.nvml.probe import ask_driver

_LONGEST_TEXT = 200
_MOST_ENTRIES = 300
# GPM and the link's counters need two readings more than 0.1 s apart.
_BETWEEN_S = 0.12


class Call(msgspec.Struct):
    """One call. `device`: "GPU 0", "GPU 0 MIG 1", or "" for the driver itself. `code` is NVML's return code; None
    where the call did not get that far, and `error` says why. `us` is None where the call has not come back."""

    device: str
    function: str
    arguments: list[Any]
    code: int | None = None
    code_name: str = ""
    value: Any = None
    error: str = ""
    us: float | None = None


class Dump(msgspec.Struct):
    """All calls in their order; `hung` where the last one had not come back after `limit_s` seconds."""

    nvidia_ml_py: str
    calls: list[Call]
    limit_s: float
    hung: bool


def dump_nvml(limit_s: float = 15.0) -> Dump:
    """Read the driver as the gauges do, twice, and the doctor once. Gives up after `limit_s`. Raises nothing."""
    notebook = _Notebook()

    def work() -> bool:
        try:
            _read_all(notebook)
        except Exception as error:  # noqa: BLE001 - the dump is what says it
            notebook.calls.append(Call("", "phitui", [], error=clean(f"{type(error).__name__}: {error}"), us=0.0))
        return True

    ended = within(limit_s, work)
    return Dump(_version(), list(notebook.calls), limit_s, not ended)


def _read_all(notebook: _Notebook) -> None:
    with contextlib.suppress(Exception):
        import pynvml  # noqa: F401 - so that its import does not count as the first call's time
    gpus = Gpus()
    with watched(notebook):
        ask_driver()
        gpus.read(time.monotonic())
        time.sleep(_BETWEEN_S)
        gpus.read(time.monotonic())
        gpus.close()


class _Notebook:
    """Takes down each call and its answer, and who the handles belong to."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._devices: dict[int, str] = {}
        self._began = 0.0
        self._arguments: tuple[Any, ...] = ()

    def asked(self, function: str, arguments: tuple[Any, ...]) -> None:
        self._arguments = arguments
        named = arguments[0].sample2 if arguments and hasattr(arguments[0], "sample2") else next(iter(arguments), None)
        device = self._devices.get(_address(named), "")
        shown = arguments[1:] if device else arguments
        self.calls.append(Call(device, function, [_shown(one) for one in shown]))
        self._began = time.perf_counter()

    def answered(self, answer: Any) -> None:
        took_us = (time.perf_counter() - self._began) * 1e6
        call = self.calls[-1]
        call.us = round(took_us, 1)
        if not isinstance(answer, Missing):
            call.code, call.value = 0, _shown(answer)
        elif answer.code >= 0:
            call.code, call.error = answer.code, answer.reason
        else:
            call.error = clean(answer.reason, _LONGEST_TEXT)
        call.code_name = "" if call.code is None else _code_name(call.code)
        if call.function == "nvmlDeviceGetHandleByIndex" and call.code == 0:
            call.device = self._devices[_address(answer)] = f"GPU {self._arguments[0]}"
        elif call.function == "nvmlDeviceGetMigDeviceHandleByIndex" and call.code == 0:
            self._devices[_address(answer)] = f"{call.device} MIG {self._arguments[1]}"
        elif call.function == "nvmlGpmSampleGet":
            self._devices[_address(self._arguments[1])] = call.device
        elif call.function == "nvmlGpmSampleFree":
            self._devices.pop(_address(self._arguments[0]), None)


def _address(value: Any) -> int:
    """What a handle points to, or -1 for what is none."""
    return ctypes.cast(value, ctypes.c_void_p).value or -1 if isinstance(value, ctypes._Pointer) else -1


def _shown(value: Any) -> Any:
    """`value` as JSON can hold it, with nothing in it that a terminal obeys."""
    if value is None or isinstance(value, (bool, int, float)):
        return value if not isinstance(value, float) or math.isfinite(value) else str(value)
    if isinstance(value, (str, bytes)):
        text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
        return clean(text, _LONGEST_TEXT)
    if isinstance(value, (list, tuple, ctypes.Array)):
        return [_shown(one) for one in value[:_MOST_ENTRIES]]
    if isinstance(value, ctypes._Pointer):
        return "handle"
    if isinstance(value, ctypes.Structure):
        return _fields(value)
    known = getattr(value, "__dict__", None)  # pynvml's own objects
    return {key: _shown(one) for key, one in known.items()} if known else clean(repr(value), _LONGEST_TEXT)


def _fields(value: Any) -> dict[str, Any]:
    shown = {}
    for name, *_ in value._fields_:
        one = getattr(value, name)
        if name == "metrics":  # as many as were asked for
            one = one[: value.numMetrics]
        if isinstance(one, ctypes.Union):  # a field's value, in the type that it has
            one = member(value)
        if name != "metricInfo":  # pointers into the driver
            shown[name] = _shown(one)
    return shown


def _code_name(code: int) -> str:
    import pynvml

    if code == 0:
        return "SUCCESS"
    names = (name for name, value in vars(pynvml).items() if name.startswith("NVML_ERROR_") and value == code)
    return next(names, "NVML_ERROR_?").removeprefix("NVML_ERROR_")


def _version() -> str:
    import importlib.metadata

    try:
        return importlib.metadata.version("nvidia-ml-py")
    except importlib.metadata.PackageNotFoundError:
        return ""
