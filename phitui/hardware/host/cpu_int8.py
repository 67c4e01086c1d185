"""Whether int8 products are exact on this CPU."""

from __future__ import annotations

import platform
from pathlib import Path

_EXACT = ("avx512_vnni", "avx_vnni", "avx512vnni")
WHY = "int8 sums can overflow (no VNNI): --compute-type float32 is exact, in 4 times the memory"


def int8_overflows(cpuinfo: str) -> bool:
    """Whether CTranslate2's int8 sums can overflow on the x86 CPU of this /proc/cpuinfo.

    Without VNNI, oneDNN adds pairs of 8-bit products in 16 bits, where large ones saturate. False where `cpuinfo` has
    no flags of an x86 CPU.
    """
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "flags":
            return not set(value.split()) & set(_EXACT)
    return False


def this_cpu_overflows(root: Path = Path("/")) -> bool:
    """`int8_overflows` of this machine; False where it cannot be known."""
    if platform.machine().lower() not in ("x86_64", "amd64", "i686", "i386"):
        return False
    try:
        return int8_overflows((root / "proc/cpuinfo").read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return False
