"""Which device and compute type to run on, and why. Pure: takes what the machine has, imports no engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from phitui.core.errors import UnavailableError
from phitui.core.installing import add_command
from phitui.engine.worker.cuda import CUBLAS_PACKAGE
from phitui.models.precision import ITEM_BYTES

# In order of preference. On CUDA int8 weights with float16 around them: half the memory traffic of float16 and
# tensor cores for the rest; cards before 7.0 lack fast float16. On a CPU int8 alone.
_PREFERRED = {"cuda": ("int8_float16", "int8_float32", "float16", "float32"), "cpu": ("int8", "float32")}
# The compute capability from which CTranslate2 reports a kind, by what is in its name. bfloat16 comes before float16,
# whose name is in its own.
_CAPABILITY = (("bfloat16", "8.0"), ("float16", "7.0"), ("int8", "6.1"))
AWQ_NEEDS = "AWQ int4 runs on CUDA cards of compute capability 7.5 and newer only"
_AWQ_FIX = "Convert another checkpoint of the model for other cards and the CPU"


class Weights(NamedTuple):
    """What the choice needs to know of a model: its manifest's `quantization`, and whether that is AWQ int4."""

    stored: str
    is_awq: bool = False


class Choice(NamedTuple):
    """A device ("cuda" or "cpu"), a compute type, and the reason in a few words."""

    device: str
    compute_type: str
    why: str


def choose(
    device: str,
    compute_type: str,
    cuda_devices: int,
    cublas_problem: str,
    supported: Mapping[str, set[str]],
    weights: Weights,
    cpu_int8_problem: str = "",
) -> Choice:
    """Settle "auto" for device and compute type.

    `cublas_problem` is "" where cuBLAS loads; `supported` holds the compute types of each device that is there, as
    CTranslate2 reports them; `cpu_int8_problem` is what is to be said of int8 on this CPU. Raises UnavailableError for
    a choice that this machine cannot honour, naming one that it can.
    """
    chosen, why = _device(device, cuda_devices, cublas_problem)
    able = supported.get(chosen, set())
    if weights.is_awq:
        return _awq(chosen, compute_type, able, why)
    if compute_type == "auto":
        best = next((kind for kind in _PREFERRED[chosen] if kind in able), None)
        if best is None:
            raise UnavailableError(
                f"none of {', '.join(_PREFERRED[chosen])} runs on this {chosen}", "Run phitui doctor"
            )
        picked = f"{best} is preferred there{_instead(chosen, best)}"
    elif compute_type in able:
        best, picked = compute_type, f"{compute_type} as asked"
    else:
        raise UnavailableError(
            f"compute type {compute_type} does not run on this {chosen}: {_reason(chosen, compute_type)}",
            f"It runs {', '.join(sorted(able))}; --compute-type auto picks one",
        )
    warning = (
        f"on this CPU {cpu_int8_problem}" if cpu_int8_problem and (chosen, _matrix(best)) == ("cpu", "int8") else ""
    )
    return Choice(chosen, best, "; ".join(filter(None, (why, picked, warning, _conversion(weights.stored, best)))))


def _awq(device: str, compute_type: str, able: set[str], why: str) -> Choice:
    if device != "cuda" or "float16" not in able:
        raise UnavailableError(f"{AWQ_NEEDS} ({why})", _AWQ_FIX)
    if compute_type not in ("auto", "float16"):
        raise UnavailableError(
            f"compute type {compute_type} does not run with AWQ int4 weights", "Take --compute-type auto or float16"
        )
    return Choice(device, "float16", f"{why}; AWQ int4 weights run with float16")


def _matrix(kind: str) -> str:
    """The type of the matrices in a compute type or a quantization: "int8" of "int8_float16"."""
    return kind.split("_")[0]


def _reason(device: str, kind: str) -> str:
    """Why CTranslate2 does not report a compute type of a device."""
    if device == "cpu":
        return "it runs on CUDA cards only" if "float16" in kind else "CTranslate2 does not support it there"
    least = next((version for part, version in _CAPABILITY if part in kind), None)
    return f"it needs compute capability {least}" if least else "CTranslate2 does not support it there"


def _instead(device: str, best: str) -> str:
    """Why not the first of the preferred kinds."""
    first = _PREFERRED[device][0]
    return "" if best == first else f", as {first} does not run: {_reason(device, first)}"


def _conversion(stored: str, kind: str) -> str:
    """What CTranslate2 makes of the weights when it loads them, one tensor after the other: no second copy is kept."""
    before, after = _matrix(stored), _matrix(kind)
    if before == after or not {before, after} <= ITEM_BYTES.keys():
        return ""
    times = ITEM_BYTES[after] / ITEM_BYTES[before]
    size = f", {times:g} times their size" if times != 1 else ""
    return f"weights stored as {before} become {after} when loaded{size}"


def _device(device: str, cuda_devices: int, cublas_problem: str) -> tuple[str, str]:
    if device == "cpu":
        return "cpu", "CPU as asked"
    if cuda_devices and not cublas_problem:
        return "cuda", "CUDA device found"
    if cuda_devices:
        problem = f"there is a CUDA device but no cuBLAS 12 ({cublas_problem})"
        fix = f"Run: {add_command(CUBLAS_PACKAGE)}"
    else:
        problem, fix = "no CUDA device", "See phitui doctor, or use --device cpu"
    if device == "cuda":
        raise UnavailableError(problem, fix)
    return "cpu", problem if not cuda_devices else f"{problem}: {fix}"
