"""One server of vLLM for all tests here. PHITUI_VLLM_PYTHON names the Python that has it; `make test-vllm` sets it."""

from __future__ import annotations

import os

import pytest
from tiny_phi3 import make_tiny_phi3, tiny_phi3_model
from vllm_server import vllm_server

pytest.register_assert_rewrite("engine_contract")
_PYTHON = os.environ.get("PHITUI_VLLM_PYTHON", "")
# vLLM's attention on CPUs takes heads of 32 elements or more.
SHAPE = {"heads": 2, "kv_heads": 2}


@pytest.fixture(scope="session")
def vllm(tmp_path_factory):
    if not _PYTHON:
        pytest.fail("PHITUI_VLLM_PYTHON is not set: use make test-vllm")
    folder = tmp_path_factory.mktemp("vllm")
    with vllm_server(_PYTHON, make_tiny_phi3(folder / "tiny", **SHAPE), folder) as server:
        yield server


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    """The same weights, converted for the local engine."""
    return tiny_phi3_model(tmp_path_factory.mktemp("tiny"), **SHAPE)
