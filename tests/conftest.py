"""What many tests need: the real demo model and a tiny Phi-3, each made once and kept, and a home to run in."""

import os
import signal

import pytest
from hypothesis import settings
from llama_server import llama_server
from tiny_gguf import write_gguf
from tiny_phi3 import CACHE, demo_gguf, demo_model, random_tensors, tiny_phi3_model

pytest.register_assert_rewrite("engine_contract")

# A machine that is busy is slow, not wrong.
settings.register_profile("phitui", deadline=None)
settings.load_profile("phitui")


# What needs a model, a process of its own, a real terminal or a server: `make check` goes without.
_NEEDS = {"demo_folder", "tiny_folder", "home", "llama", "llama_smollm2", "open_console"}
_FOLDERS = {"cli", "faults", "terminal", "models"}


# Files are given out in this order, the longest first: so all processes end at about the same time.
_LONGEST_FIRST = ("faults", "terminal", "cli", "workbench", "engine", "models", "tui")


def _place(item):
    folder = item.path.parent.name
    return _LONGEST_FIRST.index(folder) if folder in _LONGEST_FIRST else len(_LONGEST_FIRST)


def pytest_collection_modifyitems(items):
    items.sort(key=_place)
    for item in items:
        if _NEEDS & set(item.fixturenames) or item.path.parent.name in _FOLDERS:
            item.add_marker("real")


@pytest.fixture(autouse=True, scope="session")
def _own_signals():
    """A shell without job control has what it starts with "&" ignore these, and all processes below it: phitui would do
    so, too."""
    for number, usual in (
        (signal.SIGINT, signal.default_int_handler),
        (signal.SIGHUP, signal.SIG_DFL),
        (signal.SIGQUIT, signal.SIG_DFL),
    ):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, usual)


@pytest.fixture(autouse=True)
def _own_surroundings(tmp_path, monkeypatch):
    """No test reads or writes the real user's files, or sees their configuration."""
    for name in [name for name in os.environ if name.startswith(("PHITUI", "XDG_", "SSH_"))]:
        monkeypatch.delenv(name)
    # xdist's processes have a terminal's size there, which goes before that of a terminal.
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.delenv("LINES", raising=False)
    for name, value in (("TERM", "xterm-256color"), ("COLORTERM", "truecolor")):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("PHITUI_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture(scope="session")
def demo_folder():
    """SmolLM2-135M-Instruct as phitui itself fetches and converts it."""
    return demo_model(CACHE)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    """A tiny Phi-3 with random weights, converted by phitui from a Hub folder."""
    return tiny_phi3_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def home(tmp_path, demo_folder, tiny_folder):
    """PHITUI_HOME with both models in its store."""
    store = tmp_path / "home" / "models"
    store.mkdir(parents=True)
    (store / "smollm2-135m").symlink_to(demo_folder)
    (store / "tiny-phi3").symlink_to(tiny_folder)
    # One thread, so that not every start of a test measures which count is fastest: test_engine.py does. Greedy, so
    # that the small model says the same each time.
    settings = tmp_path / "home" / "config" / "phitui" / "config.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text("[engine]\nthreads = 1\n[generation]\ntemperature = 0.0\n")
    return tmp_path / "home"


@pytest.fixture(scope="session")
def llama(tmp_path_factory):
    """llama.cpp's server on the same tiny Phi-3 as `tiny_folder`: 2 prompts at once, of 2048 tokens each."""
    path = tmp_path_factory.mktemp("llama") / "tiny.gguf"
    write_gguf(path, random_tensors(0, 2, False), 2, architecture="phi3", sliding_window=2047)
    with llama_server(path) as server:
        yield server


@pytest.fixture(scope="session")
def llama_smollm2(tmp_path_factory):
    """llama.cpp's server on the demo model's own GGUF file: what `demo_folder` is converted from."""
    path = tmp_path_factory.mktemp("llama") / "smollm2.gguf"
    path.symlink_to(demo_gguf(CACHE))
    with llama_server(path, slots=1, window=1024, template="") as server:
        yield server
