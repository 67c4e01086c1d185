"""`phitui doctor`: run for real where this machine allows, and each finding brought about on its own."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from damaged_sessions import make_sessions, pages, spoil

from phitui.cli.doctor import machine, user
from phitui.cli.doctor.report import Check, as_json, as_text, checked, exit_code
from phitui.config.layers import config_dir, home, load_config, models_dir
from phitui.core.errors import PhituiError
from phitui.hardware.nvml.probe import DriverReport, Gpu
from phitui.storage.sessions.session_file import mark_recovered, set_aside

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "drivers"))
import standin

NO_DRIVER = DriverReport(reason="no NVIDIA driver library here (libnvidia-ml.so.1)")
CARD = Gpu(0, "NVIDIA GeForce RTX 4090", "8.9", 24 * 1024**3)
COMMAND = [sys.executable, "-m", "phitui", "doctor"]


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TMUX", "SSH_CONNECTION", "COLORTERM", "NO_COLOR", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)


def doctor(*arguments: str, environ: Mapping[str, str] = {}, cwd: Path | None = None) -> tuple[int, dict[str, Any]]:
    """Exit code and checks by name of a real run."""
    done = subprocess.run(
        [*COMMAND, "--json", *arguments], env={**os.environ, **environ}, cwd=cwd, capture_output=True, text=True
    )
    assert done.stderr == ""
    return done.returncode, {check["name"]: check for check in json.loads(done.stdout)["checks"]}


def in_terminal(columns: int, rows: int, **environ: str) -> str:
    """What a real run prints in a terminal of that size."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    child = subprocess.Popen(COMMAND, env={**os.environ, **environ}, stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    output = b""
    while True:
        try:
            data = os.read(master, 65536)
        except OSError:  # the terminal's other end is closed
            break
        output += data
    os.close(master)
    child.wait()
    return output.decode()


def test_this_machine() -> None:
    code, checks = doctor("--device", "cpu", environ={"LANG": "C.UTF-8"})
    assert code == 0, checks
    assert set(checks["Python"]) == {"name", "ok", "text", "fix"}
    for name in ("Python", "packages", "engine", "NVML module", "configuration", "model store", "themes"):
        assert checks[name]["ok"] is True, checks[name]
    assert "CTranslate2 4." in checks["engine"]["text"]
    assert "int8" in checks["engine"]["text"]
    assert checks["cuBLAS"]["ok"] is None
    assert checks["terminal"]["ok"] is None
    assert checks["model"]["ok"] is None


def test_the_engine_is_not_imported_here() -> None:
    code = (
        "import argparse, sys; from phitui.cli.doctor import doctor\n"
        "doctor.all_checks(argparse.Namespace())\n"
        "print(*{'ctranslate2', 'transformers', 'tokenizers', 'numpy', 'gguf', 'jinja2'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_a_wrong_configuration_is_one_line_among_the_others() -> None:
    path = config_dir() / "config.toml"
    path.parent.mkdir(parents=True)
    path.write_text("[engine]\ntreads = 1\n")
    code, checks = doctor()
    assert code == 1
    assert checks["configuration"]["ok"] is False
    assert checks["configuration"]["text"] == (f"{path}: engine.treads: no such setting; did you mean engine.threads?")
    assert checks["engine"]["ok"] is True


def test_files_of_the_working_directory_are_not_imported(tmp_path: Path) -> None:
    (tmp_path / "ctranslate2.py").write_text("raise SystemExit('wrong file')")
    (tmp_path / "json.py").write_text("raise SystemExit('wrong file')")
    command = [str(Path(sys.executable).with_name("phitui")), "doctor", "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert checks["engine"]["ok"] is True, checks["engine"]


def test_a_card_whose_driver_answers_and_no_cuda(tmp_path: Path) -> None:
    """The stand-in driver under a real run: the driver sees a card, and neither CUDA nor cuBLAS is there."""
    if standin.compiler() is None:
        pytest.skip(standin.NO_COMPILER)
    driver = standin.Driver(standin.build(tmp_path), tmp_path / "state", standin.profile("rtx4090"))
    code, checks = doctor(environ=driver.environment())
    assert checks["GPU"]["ok"] is True
    assert checks["GPU"]["text"] == (
        "NVIDIA GeForce RTX 4090 (24.0 GiB, compute capability 8.9); driver 550.54.14, CUDA 12.4"
    )
    assert checks["engine"]["ok"] is False
    assert checks["engine"]["fix"] == "Check CUDA_VISIBLE_DEVICES (not set)"
    assert code == 3
    assert doctor("--device", "cpu", environ=driver.environment())[0] == 0


@pytest.mark.parametrize(
    ("report", "device", "on_bus", "ok", "code", "told"),
    [
        (NO_DRIVER, "auto", False, None, 0, "the CPU does the work"),
        (NO_DRIVER, "cpu", False, None, 0, "the CPU does the work"),
        (NO_DRIVER, "cuda", False, False, 3, "engine.device is cuda"),
        (NO_DRIVER, "auto", True, False, 3, "there is an NVIDIA card, but no NVIDIA driver library"),
        (DriverReport(reason="the driver\x1b[2J hangs"), "auto", True, False, 3, "the driver hangs"),
        (DriverReport("550.54", "12.4", [CARD]), "auto", True, True, 0, "RTX 4090 (24.0 GiB, compute capability 8.9)"),
        (DriverReport("470.1", "11.4", [CARD]), "auto", True, False, 3, "driver 470.1, CUDA 11.4"),
        (
            DriverReport(None, None, [Gpu(0, "X\x1b[2J\n", "9.0")]),
            "auto",
            True,
            True,
            0,
            "X (–, compute capability 9.0)",
        ),
    ],
)
def test_gpu(report: DriverReport, device: str, on_bus: bool, ok: bool | None, code: int, told: str) -> None:
    check = machine.gpu(report, device, on_bus)
    assert check.ok is ok
    assert told in check.text
    assert check.text.isprintable()
    assert exit_code([check]) == code
    assert bool(check.fix) == (ok is False)


def test_cards_on_the_bus(tmp_path: Path) -> None:
    def device(name: str, vendor: str, kind: str) -> None:
        (tmp_path / name).mkdir()
        (tmp_path / name / "vendor").write_text(vendor + "\n")
        (tmp_path / name / "class").write_text(kind + "\n")

    assert not machine.nvidia_on_bus(tmp_path / "missing")
    device("0000:00:02.0", "0x8086", "0x030000")
    device("0000:01:00.1", "0x10de", "0x040300")  # the sound of an NVIDIA card
    (tmp_path / "0000:02:00.0").mkdir()
    assert not machine.nvidia_on_bus(tmp_path)
    device("0000:01:00.0", "0x10de", "0x030200")
    assert machine.nvidia_on_bus(tmp_path)


@pytest.mark.parametrize(
    ("module", "told"),
    [
        ("raise ImportError('libctranslate2.so.4: cannot open')", "ImportError: libctranslate2.so.4: cannot open"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", "the process was killed by SIGILL"),
        ("import sys; sys.exit(7)", "no reason given"),
    ],
)
def test_a_broken_engine(module: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ctranslate2.py").write_text(module)
    monkeypatch.syspath_prepend(tmp_path)
    check = machine.engine(has_gpu=False)
    assert check.ok is False
    assert told in check.text
    assert exit_code([check]) == 3


def test_an_engine_that_never_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ctranslate2.py").write_text("import time; time.sleep(60)")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(machine, "_ENGINE_LIMIT_S", 0.5)
    check = machine.engine(has_gpu=False)
    assert check.ok is False
    assert check.text == "importing CTranslate2 took longer than 0.5 s"


def test_cublas_along_the_library_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cublas_folder", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("LD_LIBRARY_PATH", f":{tmp_path}/none:{tmp_path}")
    (tmp_path / "libcublas.so.12").touch()
    check = machine.cublas(has_gpu=True)
    assert check.ok is False
    assert check.text.startswith("libcublasLt.so.12 not found")
    assert check.fix.endswith("-m pip install nvidia-cublas-cu12")
    assert exit_code([check]) == 3
    (tmp_path / "libcublasLt.so.12").touch()
    assert machine.cublas(has_gpu=True) == Check("cuBLAS", True, f"{tmp_path}/libcublas.so.12")


def test_cublas_in_the_loaders_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cublas_folder", lambda: None)
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    listing = "\tlibcublasLt.so.12 (libc6,x86-64) => /opt/cuda/libcublasLt.so.12\n"
    listing += "\tlibcublas.so.12 (libc6,x86-64) => /opt/cuda/libcublas.so.12\n"
    (tmp_path / "ldconfig").write_text(f"#!/bin/sh\ncat <<'END'\n{listing}END\n")
    (tmp_path / "ldconfig").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert machine.cublas(has_gpu=True) == Check("cuBLAS", True, "/opt/cuda/libcublas.so.12")


def test_the_real_loaders_cache_is_understood() -> None:
    assert machine._system_library("libc.so.6") is not None
    assert machine._system_library("libcublas.so.999") is None


def installed(folder: Path, name: str, version: str, *files: str) -> None:
    """Put a package's metadata into a folder, as pip leaves it."""
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "RECORD").write_text("".join(f"{file},,\n" for file in files))


def test_pynvml_beside_nvidia_ml_py(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.nvml_package().ok is True
    monkeypatch.syspath_prepend(tmp_path)
    installed(tmp_path, "pynvml", "13.0.1", "pynvml_utils/__init__.py")  # later ones leave the module alone
    assert machine.nvml_package().ok is True
    (tmp_path / "pynvml").mkdir()
    (tmp_path / "pynvml" / "__init__.py").touch()  # from Python 3.12 on, files that are not there are not listed
    (tmp_path / "pynvml-13.0.1.dist-info" / "RECORD").write_text("pynvml/__init__.py,,\n")
    check = machine.nvml_package()
    assert check.ok is False
    assert "both bring a module pynvml" in check.text
    assert "pip uninstall pynvml" in check.fix


def test_packages_that_are_missing_or_too_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.packages().ok is True
    installed(tmp_path, "textual", "7.9.9")
    monkeypatch.syspath_prepend(tmp_path)
    check = machine.packages()
    assert check.ok is False
    assert check.text == "textual is 7.9.9, but ==8.2.8 is needed"
    monkeypatch.setattr(machine.metadata, "requires", lambda name: ["no-such-thing>=1", "x; extra == 'dev'"])
    assert machine.packages().text == "no-such-thing is missing"


@pytest.mark.parametrize(
    ("version", "bounds", "fits"),
    [
        ("8.2.8", ">=8.2,<9", True),
        ("8.2", ">=8.2.0", True),
        ("9.0.0", "<9", False),
        ("8.1.99", ">=8.2", False),
        ("10.1", ">=9.2", True),
        ("1.26.4.post1", ">=1.26", True),
        ("3.1.6", "", True),
        ("8.2.8", "==8.2.8", True),
        ("8.2.9", "==8.2.8", False),
    ],
)
def test_version_bounds(version: str, bounds: str, fits: bool) -> None:
    assert machine._fits(version, bounds) is fits


def test_store() -> None:
    check = user.store()
    assert check.ok is True
    assert "no models yet" in check.text
    assert not models_dir().exists()  # looking makes nothing
    (models_dir() / "half").mkdir(parents=True)
    check = user.store()
    assert check.ok is False
    assert "half is not a phitui model" in check.text


def test_a_store_that_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PHITUI_HOME", str(tmp_path / "file"))
    check = user.store()
    assert check.ok is False
    assert "cannot be written" in check.text
    assert "PHITUI_HOME" in check.fix
    monkeypatch.setenv("PHITUI_HOME", "/proc/nowhere")
    assert checked("model store", user.store).ok is False


def test_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user.shutil, "disk_usage", lambda path: SimpleNamespace(free=12_000_000))
    check = user.store()
    assert check.ok is False
    assert "0.0 GB free" in check.text
    assert check.fix.startswith("Make room")


def test_model() -> None:
    assert user.model(load_config()).text == "the first start fetches smollm2-135m (93 MB)"
    missing = user.model(load_config(None, {"model": {"name": "phi-3-mini"}}))
    assert (missing.ok, missing.fix) == (False, "phitui model pull phi-3-mini")
    assert exit_code([missing]) == 3
    unknown = checked("model", lambda: user.model(load_config(None, {"model": {"name": "nonsense"}})))
    assert unknown.ok is False
    assert "no model is called 'nonsense'" in unknown.text


def test_sessions(tmp_path: Path) -> None:
    folder = home()
    assert (user.sessions().text, user.set_aside().ok) == ("none yet", True)
    assert not folder.exists()  # looking makes nothing
    path = folder / "sessions.db"
    make_sessions(path, 3)
    assert user.sessions().text.startswith("3 in ")
    spoil(path, pages(path) // 2)
    before = path.read_bytes()
    check = checked("sessions", user.sessions)
    assert check.ok is False and f"{path} is damaged" in check.text and "phitui session recover" in check.fix
    assert path.read_bytes() == before and list(folder.iterdir()) == [path]
    aside = set_aside(path)
    check = checked("sessions", user.sessions)
    assert check.ok is False and aside.name in check.text and "phitui session recover" in check.fix
    mark_recovered(aside)
    assert user.sessions().ok is True
    (folder / "tunings.json.damaged").write_text("")
    check = user.set_aside()
    assert check.ok is None and "tunings.json.damaged" in check.text


def test_themes() -> None:
    assert user.themes().ok is True
    path = config_dir() / "themes" / "mine.toml"
    path.parent.mkdir(parents=True)
    path.write_text("name = 1")
    check = user.themes()
    assert check.ok is False
    assert f"{path}: name: expected a string, got 1" in check.text


def test_terminals() -> None:
    shown = in_terminal(120, 40, TERM="xterm-256color", COLORTERM="", LANG="C.UTF-8")
    assert "\x1b[32mok \x1b[0m terminal       TERM=xterm-256color, 120×40\r\n" in shown
    assert "–   colours        256;" in shown
    small = in_terminal(
        60, 20, TERM="tmux-256color", COLORTERM="", TMUX="/tmp/tmux", SSH_CONNECTION="a b", LANG="C.UTF-8"
    )
    assert "\x1b[31mnot\x1b[0m terminal       TERM=tmux-256color, 60×20, tmux, SSH\r\n" in small
    assert "→ Make the window at least 80×24" in small
    assert "terminal-features" in small
    assert "–   colours        16, the terminal's own" in in_terminal(
        80, 24, TERM="xterm", COLORTERM="", LANG="C.UTF-8"
    )
    dumb = in_terminal(80, 24, TERM="dumb", COLORTERM="truecolor", LANG="C.UTF-8")
    assert "not terminal       TERM=dumb, 80×24\r\n" in dumb
    assert "ok  colours        16.7 million" in dumb


def test_a_terminal_that_is_not_utf8_gets_no_traceback() -> None:
    environ = {**os.environ, "LC_ALL": "", "LANG": "en_US.ISO-8859-1", "PYTHONIOENCODING": "ascii"}
    environ.pop("LC_CTYPE", None)
    done = subprocess.run(COMMAND, env=environ, capture_output=True, text=True)
    assert done.stderr == ""
    assert "not UTF-8          LANG=en_US.ISO-8859-1" in done.stdout
    assert done.returncode == 1


@pytest.mark.parametrize(
    ("environ", "ok"),
    [
        ({}, None),
        ({"LANG": "C"}, None),
        ({"LANG": "de_DE.utf8"}, True),
        ({"LC_ALL": "de_DE.ISO-8859-1", "LANG": "C.UTF-8"}, False),
        ({"LC_CTYPE": "C.UTF-8", "LANG": "C"}, True),
    ],
)
def test_locales(environ: dict[str, str], ok: bool | None) -> None:
    assert user.locale(environ).ok is ok


def test_a_check_that_fails_itself_is_a_line() -> None:
    def fall_ill() -> Check:
        raise ZeroDivisionError("1\n/0")

    check = checked("x", fall_ill)
    assert check == Check("x", False, "this check failed: ZeroDivisionError: 1 /0", check.fix)

    def refuse() -> Check:
        raise PhituiError("it is broken", "mend it")

    assert checked("x", refuse) == Check("x", False, "it is broken", "mend it")


def test_report(monkeypatch: pytest.MonkeyPatch) -> None:
    checks = [Check("one", True, "fine"), Check("three", False, "bad", "mend"), Check("two", None, "unneeded")]
    assert as_text(checks) == "ok  one    fine\nnot three  bad\n           → mend\n–   two    unneeded"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    assert [line[:9] for line in as_text(checks).splitlines()] == [
        "\x1b[32mok \x1b", "\x1b[31mnot\x1b", "         ", "–   two  ",
    ]  # fmt: skip
    assert json.loads(as_json(checks))["checks"][1] == {"name": "three", "ok": False, "text": "bad", "fix": "mend"}
    assert [exit_code(checks), exit_code(checks[:1]), exit_code(checks[2:])] == [1, 0, 0]


def test_a_lost_card_is_not_ok_whatever_the_others_say(tmp_path: Path) -> None:
    if standin.compiler() is None:
        pytest.skip(standin.NO_COMPILER)
    driver = standin.Driver(standin.build(tmp_path), tmp_path / "state", standin.profile("2x4090"))
    driver.change({"0.err": 15})
    code, checks = doctor(environ=driver.environment())
    assert (code, checks["GPU"]["ok"]) == (3, False)
    assert "GPU 0 does not answer" in checks["GPU"]["text"] and "NVIDIA GeForce RTX 4090" in checks["GPU"]["text"]
    driver.change({"1.err": 15})
    code, checks = doctor("--device", "cpu", environ=driver.environment())
    assert (code, checks["GPU"]["ok"]) == (3, False)
