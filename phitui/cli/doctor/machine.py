"""What `phitui doctor` looks at in the installation and the hardware."""

from __future__ import annotations

import importlib.metadata as metadata
import json
import operator
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from phitui.cli.doctor.report import Check
from phitui.core.errors import ExitCode
from phitui.core.installing import add_command, pip_command, reinstall_command
from phitui.core.text import one_line
from phitui.engine.worker.cuda import CUBLAS_PACKAGE, LIBRARIES, cublas_folder
from phitui.hardware.host.cpu_int8 import WHY, this_cpu_overflows
from phitui.hardware.nvml.probe import DriverReport, Gpu

_NVIDIA_VENDOR = "0x10de"
_DISPLAY_CLASS = "0x03"
_ENGINE_LIMIT_S = 30.0
# In a process of its own, as ever: a wheel built for another CPU can die of an illegal instruction here.
# The path is ours, so that no file of the working directory is imported in place of a package.
_ENGINE = """
import sys; sys.path[:] = {path!r}
import json, ctranslate2 as c
print(json.dumps([c.__version__, c.get_cuda_device_count(), sorted(c.get_supported_compute_types("cpu"))]))
"""


def _reinstall() -> str:
    return f"Install phitui again: {reinstall_command()}"


def python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    return Check("Python", True, f"{version} at {one_line(sys.executable, 120)}")


def packages() -> Check:
    """Whether what phitui requires is installed, in a version that fits."""
    try:
        wanted = metadata.requires("phitui") or []
    except metadata.PackageNotFoundError:
        return Check("packages", None, "not known, because phitui runs without being installed")
    shown, wrong = [], []
    for name, bounds in _requirements(wanted):
        version = _version(name)
        shown.append(f"{name} {version}")
        if version is None:
            wrong.append(f"{name} is missing")
        elif not _fits(version, bounds):
            wrong.append(f"{name} is {version}, but {bounds} is needed")
    if wrong:
        return Check("packages", False, "; ".join(wrong), _reinstall())
    return Check("packages", True, ", ".join(shown))


def _requirements(lines: list[str]) -> Iterator[tuple[str, str]]:
    """Name and bounds of each requirement that holds here: "textual", ">=8.2,<9"."""
    for line in lines:
        requirement, _, marker = line.partition(";")
        older = re.search(r"python_version\s*<\s*['\"]3\.(\d+)", marker)
        if "extra" in marker or (older and sys.version_info >= (3, int(older[1]))):
            continue
        match = re.match(r"([\w.-]+)\s*(.*)", requirement.strip())
        if match:
            yield match[1], match[2].strip()


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _fits(version: str, bounds: str) -> bool:
    """Whether a version is within bounds like ">=8.2,<9" or "==8.2.8", by its leading numbers."""
    have = _numbers(version)
    within = {">=": operator.ge, "<": operator.lt, "==": operator.eq}
    found = re.findall(r"(>=|<|==)\s*([\d.]+)", bounds)
    return all(within[sign](have, _numbers(bound)) for sign, bound in found)


def _numbers(version: str) -> tuple[int, ...]:
    match = re.match(r"\d+(?:\.\d+)*", version)
    numbers = [int(part) for part in match[0].split(".")] if match else []
    while numbers and numbers[-1] == 0:  # 9 and 9.0 are the same
        numbers.pop()
    return tuple(numbers)


def nvml_package() -> Check:
    """Whether the module pynvml is nvidia-ml-py's: the old package pynvml has one of the same name."""
    try:
        files = metadata.files("pynvml") or []
    except metadata.PackageNotFoundError:
        files = []
    if any(file.parts[0] in ("pynvml", "pynvml.py") for file in files):
        text = "the packages pynvml and nvidia-ml-py both bring a module pynvml"
        return Check("NVML module", False, text, f"{pip_command()} uninstall pynvml; {reinstall_command()}")
    if _version("nvidia-ml-py") is None:
        return Check("NVML module", False, "nvidia-ml-py is missing", _reinstall())
    return Check("NVML module", True, f"of nvidia-ml-py {_version('nvidia-ml-py')}")


def gpu(report: DriverReport, device: str, on_bus: bool) -> Check:
    """`device` is the configured one; `on_bus` whether there is a card, which the driver may not know."""
    if any(not card.answers for card in report.gpus):
        return _silent_gpu(report)
    if not report.reason:
        return _working_gpu(report)
    reason = one_line(report.reason, 200)
    if device == "cuda":
        text = f"{reason}, and engine.device is cuda"
        fix = "Install NVIDIA's driver (525 or newer), or set --device auto"
        return Check("GPU", False, text, fix, ExitCode.UNAVAILABLE)
    if on_bus:
        fix = "Install NVIDIA's driver (525 or newer); a container needs --gpus all"
        return Check("GPU", False, f"there is an NVIDIA card, but {reason}", fix, ExitCode.UNAVAILABLE)
    return Check("GPU", None, f"{reason}; the CPU does the work")


def _working_gpu(report: DriverReport) -> Check:
    cards = ", ".join(_described(card) for card in report.gpus)
    text = f"{cards}; driver {one_line(report.driver or '–', 40)}, CUDA {report.cuda or '–'}"
    major = int(report.cuda.split(".")[0]) if report.cuda else None
    if major is not None and major < 12:
        fix = "Update NVIDIA's driver to 525 or newer: the engine is built for CUDA 12"
        return Check("GPU", False, text, fix, ExitCode.UNAVAILABLE)
    return Check("GPU", True, text)


def _silent_gpu(report: DriverReport) -> Check:
    """A card that the driver lists and that does not answer, as one that has fallen off the bus."""
    said = [
        _described(card) if card.answers else f"{one_line(card.name, 60)} does not answer ({_why_silent(card)})"
        for card in report.gpus
    ]
    fix = "See nvidia-smi, and the kernel's log for Xid; a lost card needs a reset or a restart"
    return Check("GPU", False, one_line(", ".join(said), 400), fix, ExitCode.UNAVAILABLE)


def _why_silent(card: Gpu) -> str:
    return one_line(next(iter(card.unavailable.values()), "no reason given"), 120)


def _described(card: Gpu) -> str:
    memory = "–" if card.vram_bytes is None else f"{card.vram_bytes / 1024**3:.1f} GiB"
    return f"{one_line(card.name, 60)} ({memory}, compute capability {card.compute_capability or '–'})"


def nvidia_on_bus(pci: Path = Path("/sys/bus/pci/devices")) -> bool:
    """Whether an NVIDIA display or compute device is on the PCI bus, driver or not."""
    for device in pci.glob("*"):
        try:
            vendor = (device / "vendor").read_text().strip()
            kind = (device / "class").read_text().strip()
        except OSError:
            continue
        if vendor == _NVIDIA_VENDOR and kind.startswith(_DISPLAY_CLASS):
            return True
    return False


def engine(has_gpu: bool) -> Check:
    """Whether CTranslate2 can be imported, and sees what the driver sees."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", _ENGINE.format(path=sys.path)],
            capture_output=True,
            timeout=_ENGINE_LIMIT_S,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        text = f"importing CTranslate2 took longer than {_ENGINE_LIMIT_S:g} s"
        return Check("engine", False, text, _reinstall(), ExitCode.UNAVAILABLE)
    if done.returncode != 0:
        text = f"CTranslate2 cannot be imported: {_failure(done)}"
        return Check("engine", False, text, _reinstall(), ExitCode.UNAVAILABLE)
    version, devices, kinds = json.loads(done.stdout.splitlines()[-1])
    text = f"CTranslate2 {version}; CUDA devices: {devices}; on the CPU: {', '.join(kinds)}"
    if has_gpu and devices == 0:
        fix = f"Check CUDA_VISIBLE_DEVICES ({one_line(os.environ.get('CUDA_VISIBLE_DEVICES', 'not set'), 40)})"
        return Check("engine", False, f"{text}, though the driver has a GPU", fix, ExitCode.UNAVAILABLE)
    return Check("engine", True, text)


def cpu_int8() -> Check:
    """Whether int8, which is what the CPU runs by itself, is exact on it."""
    if this_cpu_overflows():
        return Check("CPU int8", None, f"on this CPU {WHY}")
    return Check("CPU int8", True, "no problem is known on this CPU")


def _failure(done: subprocess.CompletedProcess[bytes]) -> str:
    if done.returncode < 0:
        return f"the process was killed by {signal.Signals(-done.returncode).name}"
    lines = done.stderr.decode("utf-8", "replace").split("\n")
    return one_line(next((line for line in reversed(lines) if line.strip()), "no reason given"), 200)


def cublas(has_gpu: bool) -> Check:
    """Whether the CUDA library that CTranslate2 needs and does not bring can be found. Nothing is loaded."""
    if not has_gpu:
        return Check("cuBLAS", None, "not needed without an NVIDIA GPU")
    folder = cublas_folder()
    if folder is not None and all((folder / name).is_file() for name in LIBRARIES):
        return Check("cuBLAS", True, f"{LIBRARIES[-1]} of {CUBLAS_PACKAGE} {_version(CUBLAS_PACKAGE) or '–'}")
    places = {name: _system_library(name) for name in LIBRARIES}
    missing = [name for name, place in places.items() if place is None]
    if missing:
        text = f"{' and '.join(missing)} not found, so the GPU cannot be used"
        return Check("cuBLAS", False, text, add_command(CUBLAS_PACKAGE), ExitCode.UNAVAILABLE)
    return Check("cuBLAS", True, one_line(str(places[LIBRARIES[-1]]), 160))


def _system_library(name: str) -> str | None:
    """Where the system's loader finds a library: along LD_LIBRARY_PATH, then in its cache."""
    for folder in os.environ.get("LD_LIBRARY_PATH", "").split(":"):
        if folder and (Path(folder) / name).is_file():
            return str(Path(folder) / name)
    ldconfig = shutil.which("ldconfig", path=f"{os.environ.get('PATH', '')}:/sbin:/usr/sbin")
    if ldconfig is None:
        return None
    try:
        cache = subprocess.run([ldconfig, "-p"], capture_output=True, timeout=10, stdin=subprocess.DEVNULL).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    for line in cache.decode("utf-8", "replace").splitlines():
        if line.strip().startswith(f"{name} ") and " => " in line:
            return line.split(" => ")[1]
    return None
