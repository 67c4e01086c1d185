"""What CTranslate2 needs to run on an NVIDIA card: a device, and cuBLAS 12.

CTranslate2's wheel opens `libcublas.so.12` by name at the first matrix product and does not bring it. Loading it
beforehand, with its symbols global, makes that later look-up find it wherever it lies.
"""

from __future__ import annotations

import ctypes
import importlib.util
from pathlib import Path

CUBLAS_PACKAGE = "nvidia-cublas-cu12"
LIBRARIES = ("libcublasLt.so.12", "libcublas.so.12")  # the second needs the first


def cublas_folder() -> Path | None:
    """Where the package nvidia-cublas-cu12 put its libraries, if it is installed."""
    try:
        spec = importlib.util.find_spec("nvidia.cublas")
    except ModuleNotFoundError:
        return None
    for location in (spec.submodule_search_locations or []) if spec else []:
        folder = Path(location) / "lib"
        if (folder / LIBRARIES[-1]).is_file():
            return folder
    return None


def preload_cublas() -> str:
    """Load cuBLAS 12, from its package or from where the system's linker looks. Returns "" or why it failed."""
    folder = cublas_folder()
    try:
        for name in LIBRARIES:
            ctypes.CDLL(str(folder / name) if folder else name, mode=ctypes.RTLD_GLOBAL)
    except OSError as error:
        return str(error)
    return ""
