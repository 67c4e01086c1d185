"""Lets CTranslate2 find a cuBLAS: its wheel asks for libcublas.so.12, and some machines have CUDA 13's alone.

What CTranslate2 calls of it is in both. Links named .12 to the .13 that is there are put into a folder, and the folder
on LD_LIBRARY_PATH of whatever is run. The result says so.
"""

from __future__ import annotations

import os
import site
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

_NAMES = ("libcublas.so", "libcublasLt.so")
_PLACES = (
    "/usr/local/cuda*/lib64",
    "/usr/local/cuda*/targets/*/lib",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/opt/cuda*/lib64",
    "/opt/conda/lib",
)
_TRY = "import sys; from phitui.engine.worker.cuda import preload_cublas; sys.exit(bool(preload_cublas()))"


def cublas(folder: Path, environ: dict[str, str]) -> tuple[dict[str, str], str]:
    """What to set in the environment so that a cuBLAS is found, and that in words. `folder` takes the links."""
    if _loads(environ):
        return {}, "libcublas.so.12 is found as it is"
    for version in ("12", "13"):
        for home in _homes(environ):
            if all((home / f"{name}.{version}").exists() for name in _NAMES):
                paths = [str(home)] if version == "12" else [str(_linked(folder, home)), str(home)]
                changed = {"LD_LIBRARY_PATH": ":".join([*paths, *filter(None, [environ.get("LD_LIBRARY_PATH")])])}
                how = f"LD_LIBRARY_PATH names {home}" if version == "12" else f"libcublas.so.12 is a link into {home}"
                if _loads({**environ, **changed}):
                    return changed, f"{how} (cuBLAS {version})"
    return {}, "no libcublas.so.12 and no .13 that loads was found"


def _loads(environ: dict[str, str]) -> bool:
    return subprocess.run([sys.executable, "-c", _TRY], env=environ, capture_output=True, check=False).returncode == 0


def _linked(folder: Path, home: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in _NAMES:
        link = folder / f"{name}.12"
        link.unlink(missing_ok=True)
        link.symlink_to(home / f"{name}.13")
    return folder


def _homes(environ: dict[str, str]) -> Iterator[Path]:
    """Folders where a cuBLAS may lie: named ones, packages of this Python, and where CUDA is usually installed."""
    yield from (Path(part) for part in environ.get("LD_LIBRARY_PATH", "").split(os.pathsep) if part)
    for packages in (*site.getsitepackages(), *([site.getusersitepackages()] if site.ENABLE_USER_SITE else [])):
        yield from sorted(Path(packages).glob("nvidia/*/lib"))
        yield from sorted(Path(packages).glob("torch/lib"))
    for pattern in _PLACES:
        yield from sorted(Path("/").glob(pattern.lstrip("/")))
