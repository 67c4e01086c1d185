"""Builds the stand-in NVIDIA driver and steers it: the real pynvml runs, only the library under it is ours.

library = standin.build(folder)                     # or build(folder, old=True)
driver = standin.Driver(library, folder / "state", standin.profile("rtx4090"))
with driver.installed():                            # in this process
    driver.change({"0.util_gpu": 12, "0.fan": None})
subprocess.run(..., env={**os.environ, **driver.environment()})     # in another
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pynvml

HERE = Path(__file__).resolve().parent
SOURCE = HERE / "standin_nvml.c"
PROFILES = HERE / "profiles"
NO_COMPILER = "gcc is not here: the stand-in NVIDIA driver cannot be built"


def compiler() -> str | None:
    return shutil.which("gcc")


def build(folder: Path, old: bool = False) -> Path:
    """Compile the library into a folder of its own below `folder`; `old` leaves out what old drivers lack.

    It has no SONAME: with one, a later load of "libnvidia-ml.so.1" in this process would find it again.
    """
    home = folder / ("old" if old else "new")
    home.mkdir(parents=True, exist_ok=True)
    library = home / "libnvidia-ml.so.1"
    command = ["gcc", "-std=gnu11", "-Wall", "-Wextra", "-O1", "-shared", "-fPIC", "-pthread"]
    command += ["-DOLD_DRIVER"] if old else []
    subprocess.run([*command, "-o", str(library), str(SOURCE)], check=True)
    return library


def profile(name: str) -> dict[str, str]:
    """A card's answers, from profiles/<name>.txt."""
    lines = (PROFILES / f"{name}.txt").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def escaped(raw: bytes) -> str:
    """`raw` as the state file can hold it."""
    return "".join(f"\\x{byte:02x}" for byte in raw if byte)


class Driver:
    """One state of the stand-in, kept in a file that is replaced whole."""

    def __init__(self, library: Path, file: Path, state: Mapping[str, object]) -> None:
        self.library = library
        self.file = file
        self.state: dict[str, object] = {}
        self.replace(state)

    def replace(self, state: Mapping[str, object]) -> None:
        """Answer from `state` and nothing else."""
        self.state = dict(state)
        new = self.file.with_suffix(".new")
        new.write_text("".join(f"{key}={value}\n" for key, value in self.state.items()))
        os.replace(new, self.file)

    def change(self, changes: Mapping[str, object]) -> None:
        """Set some answers; None takes one away."""
        merged = {**self.state, **changes}
        self.replace({key: value for key, value in merged.items() if value is not None})

    def environment(self) -> dict[str, str]:
        """What another process needs in its environment to find this driver."""
        return {"LD_LIBRARY_PATH": str(self.library.parent), "STANDIN_NVML": str(self.file)}

    @contextmanager
    def installed(self) -> Iterator[Driver]:
        """Put it under this process's pynvml, as if freshly loaded."""
        loaded = ctypes.CDLL(str(self.library))
        loaded.standin_use(str(self.file).encode())
        with pynvml_on(loaded):
            yield self

    def started(self) -> int:
        """How many starts of NVML are open."""
        return int(ctypes.CDLL(str(self.library)).standin_started())

    def samples(self) -> int:
        """How many GPM samples were lent and not given back."""
        return int(ctypes.CDLL(str(self.library)).standin_samples())


@contextmanager
def pynvml_on(library: ctypes.CDLL | None) -> Iterator[None]:
    """Let pynvml use `library`; with None it looks for one by itself at the next start."""
    before = pynvml.nvmlLib
    pynvml.nvmlLib = library
    pynvml._nvmlGetFunctionPointer_cache.clear()
    try:
        yield
    finally:
        pynvml.nvmlLib = before
        pynvml._nvmlGetFunctionPointer_cache.clear()
