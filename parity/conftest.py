"""What the parity tests share: the models, each made once, and the figures, written down with --publish."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"  # everything is made here: nothing may be asked of the Hub

import checkpoints
import pytest
import torch
import transformers
from compare import Reference
from report import machine, publish
from transformers import AutoModelForCausalLM

torch.set_num_threads(1)  # small models: a second thread costs more in barriers than it brings
transformers.utils.logging.disable_progress_bar()
_FIGURES = pytest.StashKey[dict[str, dict[str, Any]]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--publish", action="store_true", help="keep the figures in benchmarks/results/parity.json")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_FIGURES] = {}


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Only a whole run without failures is published."""
    if session.config.getoption("--publish") and exitstatus == 0:
        packages = {"torch": torch.__version__, "transformers": transformers.__version__}
        about = machine()
        about["packages"] |= packages
        publish("parity", {"machine": about, **session.config.stash[_FIGURES]})


@pytest.fixture(scope="session")
def figures(pytestconfig: pytest.Config) -> Callable[[str, str, dict[str, Any]], None]:
    """Call it with a measure, what was measured, and the figures."""

    def note(measure: str, what: str, found: dict[str, Any]) -> None:
        pytestconfig.stash[_FIGURES].setdefault(measure, {})[what] = found

    return note


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Reference]]:
    """The Hub folder of a kind of checkpoint, and the model in it as transformers reads it."""

    @functools.cache
    def prepare(kind: str) -> tuple[Path, Reference]:
        folder = checkpoints.make(kind, tmp_path_factory.mktemp(kind))
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        return folder, Reference(model, checkpoints.prompts(checkpoints.KINDS[kind].seed))

    return prepare
