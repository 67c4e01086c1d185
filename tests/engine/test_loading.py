"""What a failed load says, for the errors that CTranslate2 raises."""

from pathlib import Path

import pytest

from phitui.engine.loading import is_out_of_memory, load_error
from phitui.models.manifest import read_manifest

MEMORY = [
    RuntimeError("CUDA failed with error out of memory"),
    RuntimeError("cuBLAS failed with status CUBLAS_STATUS_ALLOC_FAILED"),
    RuntimeError("parallel_for failed: cudaErrorMemoryAllocation: out of memory"),
    MemoryError(),
]


@pytest.mark.parametrize("error", MEMORY, ids=repr)
def test_running_out_of_memory_is_known_and_names_the_size(tiny_folder, error):
    assert is_out_of_memory(error)
    said = load_error(error, Path("m"), read_manifest(tiny_folder), "cuda")
    assert "not enough free VRAM" in said.message
    assert "GB of weights" in said.message
    assert "--device cpu" in said.fix


def test_a_card_that_does_not_fit_is_not_a_lack_of_memory():
    assert not is_out_of_memory(RuntimeError("parallel_for failed: cudaErrorNoKernelImageForDevice"))
    assert not is_out_of_memory(RuntimeError("cuBLAS failed with status CUBLAS_STATUS_NOT_INITIALIZED"))


def test_other_errors_keep_their_first_line(tiny_folder):
    error = RuntimeError("Unsupported model binary version.\nand more")
    assert not is_out_of_memory(error)
    said = load_error(error, Path("m"), read_manifest(tiny_folder), "cpu")
    assert said.message == "cannot load m: Unsupported model binary version."
    assert said.exit_code == 3
