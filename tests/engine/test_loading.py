"""What a failed load says, for the errors that CTranslate2 raises."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from phitui.engine.worker.choice import Choice
from phitui.engine.worker.loading import is_out_of_memory, load_error
from phitui.engine.worker.out_of_memory import out_of_memory
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
    said = load_error(error, Path("m"), read_manifest(tiny_folder), Choice("cuda", "int8_float16", ""))
    assert "not enough free VRAM" in said.message
    assert "weights need" in said.message
    assert "--device cpu" in said.fix


def test_a_card_that_does_not_fit_is_not_a_lack_of_memory():
    assert not is_out_of_memory(RuntimeError("parallel_for failed: cudaErrorNoKernelImageForDevice"))
    assert not is_out_of_memory(RuntimeError("cuBLAS failed with status CUBLAS_STATUS_NOT_INITIALIZED"))


def test_other_errors_keep_their_first_line(tiny_folder):
    error = RuntimeError("Unsupported model binary version.\nand more")
    assert not is_out_of_memory(error)
    said = load_error(error, Path("m"), read_manifest(tiny_folder), Choice("cpu", "int8", ""))
    assert said.message == "cannot load m: Unsupported model binary version."
    assert said.exit_code == 3


SHORT_OF_MEMORY = """
import resource, sys
from phitui.engine.protocol.api import Load
from phitui.engine.worker.loading import load_model
from phitui.core.errors import UnavailableError

held = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmData:")) * 1024
most = held + 100_000_000
resource.setrlimit(resource.RLIMIT_DATA, (most, most))
try:
    load_model(Load(sys.argv[1], "cpu", "float32", 1, "", 0.0), lambda progress: None)
except UnavailableError as error:
    print(error.message)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a limit of Linux")
def test_a_load_under_a_limit_of_the_process_names_the_limit(demo_folder):
    process = [sys.executable, "-c", SHORT_OF_MEMORY, str(demo_folder)]
    done = subprocess.run(process, capture_output=True, text=True, timeout=120, check=False)
    said = done.stdout.strip()
    assert said.startswith("not enough free memory: "), done.stderr
    assert "'s weights need 0.5" in said  # 134.5 million float32, where the int8 file has 0.13 GiB
    left = re.search(r"the engine's process may have (0\.\d\d) GiB more \(ulimit -d\)", said)
    assert left and float(left[1]) < 0.2


def test_a_load_without_memory_says_what_is_needed_what_is_free_and_who_has_the_rest(demo_folder):
    said = out_of_memory(read_manifest(demo_folder), "float32", "cpu").message
    assert said.startswith("not enough free memory: ")
    assert "'s weights need 0.5" in said
    assert "GiB is free for it" in said
    assert "is used by" in said
    assert "(process" in said
