"""The one funnel for every question to the NVIDIA driver (NVML, by the module pynvml of nvidia-ml-py).

An answer is a value, or Missing with the reason. Any call can hang in the driver: never call from a thread
that must not wait.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from phitui.hardware.figures import Missing

_FUNCTION_NOT_FOUND = 13
_REASONS = {
    0: "the driver answered with nothing",
    1: "NVML is not initialized",
    2: "the driver refused the question",
    3: "this card does not report it",
    4: "no permission",
    6: "the driver does not find it",
    9: "the NVIDIA driver is not loaded",
    10: "the driver timed out",
    12: "no NVIDIA driver library here (libnvidia-ml.so.1)",
    _FUNCTION_NOT_FOUND: "this driver is too old to report it",
    15: "the GPU is lost: it fell off the bus or was taken away",
    16: "the GPU needs a reset",
    17: "the operating system blocked the question",
    18: "the driver's library and its kernel module have different versions: reboot, or make them match",
    20: "the driver is out of memory",
    25: "this driver knows another version of the question",
    28: "the driver lost sight of the GPU",
    999: "the driver answered 'unknown error'",
}
# The handle is good for nothing any more: not initialized, no driver, lost, needs a reset, not found.
_HANDLE_IS_DEAD = {1, 9, 15, 16, 28}
# Another form of the question may be answered: refused, not supported, not there, wrong version, retired.
_ASK_ANOTHER_WAY = {2, 3, _FUNCTION_NOT_FOUND, 25, 26}

_MOST_GPUS = 64

Question = tuple[str, tuple[Any, ...]]
T = TypeVar("T")


class GpuLostError(Exception):
    """The driver no longer answers for this GPU. `str()` of it is the reason."""


class Watcher(Protocol):
    """Is told of every question before it is asked, and of its answer."""

    def asked(self, function: str, arguments: tuple[Any, ...]) -> None: ...

    def answered(self, answer: Any) -> None: ...


_of_this_thread = threading.local()


@contextmanager
def watched(watcher: Watcher) -> Iterator[None]:
    """Let `watcher` see every call that this thread makes."""
    _of_this_thread.watcher = watcher
    try:
        yield
    finally:
        _of_this_thread.watcher = None


def call(function: str, *arguments: Any) -> Any:
    """The one funnel to the driver: what pynvml's `function` returns, or Missing. Raises nothing."""
    watcher: Watcher | None = getattr(_of_this_thread, "watcher", None)
    if watcher is None:
        return _call(function, arguments)
    watcher.asked(function, arguments)
    answer = _call(function, arguments)
    watcher.answered(answer)
    return answer


def refused(code: int) -> Missing:
    """What one of NVML's return codes says."""
    return Missing(_REASONS.get(code, f"the driver answered with error {code}"), code)


def _call(function: str, arguments: tuple[Any, ...]) -> Any:
    try:
        import pynvml
    except Exception as error:  # noqa: BLE001 - whatever a broken installation raises
        return Missing(f"the package nvidia-ml-py cannot be imported: {error}")
    asked = getattr(pynvml, function, None)
    if asked is None:
        return Missing("the installed nvidia-ml-py is too old for it", _FUNCTION_NOT_FOUND)
    try:
        return asked(*arguments)
    except UnicodeDecodeError as error:  # a name that is not UTF-8; the bytes are in the error
        return error.object.decode("utf-8", "replace")
    except Exception as error:  # noqa: BLE001 - a driver's answer must never end the thread that asks
        code = getattr(error, "value", None)  # NVMLError's; 13 for a missing symbol and where the driver returns it
        if not isinstance(code, int):
            return Missing(f"{type(error).__name__} in {function}")
        return refused(code)


def ask(handle: Any, questions: tuple[Question, ...]) -> Any:
    """The first form of a question that the driver can answer, or Missing. Raises GpuLostError."""
    refusal = Missing("nothing was asked", _FUNCTION_NOT_FOUND)
    for function, arguments in questions:
        answer = call(function, handle, *arguments)
        if not isinstance(answer, Missing):
            return answer
        if answer.code in _HANDLE_IS_DEAD:
            raise GpuLostError(answer.reason)
        if refusal.code == _FUNCTION_NOT_FOUND:  # of several refusals, one that says more than "too old"
            refusal = answer
        if answer.code not in _ASK_ANOTHER_WAY:
            break
    return refusal


def gpu_count() -> int | Missing:
    """How many GPUs the driver lists: at least one, or Missing."""
    count = call("nvmlDeviceGetCount")
    if isinstance(count, Missing):
        return count
    if not isinstance(count, int) or not 0 <= count <= _MOST_GPUS:
        return Missing(f"the driver reports {count} GPUs")
    return count or Missing("the driver sees no GPU")


def within(limit_s: float, question: Callable[[], T]) -> T | None:
    """What `question` finds, None where it takes longer: some drivers never answer. It must not raise anything."""
    answers: list[T] = []
    # A call that hangs cannot be taken back: its thread is left behind and ends with the process.
    thread = threading.Thread(target=lambda: answers.append(question()), name="phitui-driver", daemon=True)
    thread.start()
    thread.join(limit_s)
    return next(iter(answers), None)


def cuda_driver_version() -> Any:
    """The newest CUDA that the driver runs, as 1000 × major + 10 × minor, or Missing."""
    version = call("nvmlSystemGetCudaDriverVersion_v2")
    return call("nvmlSystemGetCudaDriverVersion") if isinstance(version, Missing) else version
