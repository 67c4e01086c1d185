"""Which device and compute type to run on, and why. Pure: takes what the machine has, imports no engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from phitui.errors import UnavailableError

# In order of preference. On CUDA int8 weights with float16 around them: half the memory traffic of float16 and
# tensor cores for the rest; cards before 7.0 lack fast float16. On a CPU int8 alone.
_PREFERRED = {
    "cuda": ("int8_float16", "int8_float32", "float16", "float32"),
    "cpu": ("int8", "float32"),
}


class Choice(NamedTuple):
    """A device ("cuda" or "cpu"), a compute type, and the reason in a few words."""

    device: str
    compute_type: str
    why: str


def choose(
    device: str, compute_type: str, cuda_devices: int, cublas_problem: str, supported: Mapping[str, set[str]]
) -> Choice:
    """Settle "auto" for device and compute type.

    `cublas_problem` is "" where cuBLAS loads; `supported` holds the compute types of each device that is there.
    Raises UnavailableError for a choice that this machine cannot honour, naming one that it can.
    """
    chosen, why = _device(device, cuda_devices, cublas_problem)
    able = supported.get(chosen, set())
    if compute_type == "auto":
        best = next((kind for kind in _PREFERRED[chosen] if kind in able), None)
        if best is None:
            raise UnavailableError(
                f"none of {', '.join(_PREFERRED[chosen])} runs on this {chosen}", "Run phitui doctor"
            )
        return Choice(chosen, best, f"{why}; {best} is preferred there")
    if compute_type not in able:
        raise UnavailableError(
            f"compute type {compute_type} does not run on this {chosen}",
            f"It runs {', '.join(sorted(able))}; --compute-type auto picks one",
        )
    return Choice(chosen, compute_type, f"{why}; {compute_type} as asked")


def _device(device: str, cuda_devices: int, cublas_problem: str) -> tuple[str, str]:
    if device == "cpu":
        return "cpu", "CPU as asked"
    if cuda_devices and not cublas_problem:
        return "cuda", "CUDA device found"
    if cuda_devices:
        problem, fix = f"there is a CUDA device but no cuBLAS 12 ({cublas_problem})", "Install phitui[cuda]"
    else:
        problem, fix = "no CUDA device", "See phitui doctor, or use --device cpu"
    if device == "cuda":
        raise UnavailableError(problem, fix)
    return "cpu", problem if not cuda_devices else f"{problem}: {fix}"
