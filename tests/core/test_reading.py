"""Small files are read by one function, which never waits and takes bounded memory; nothing is opened otherwise."""

import ast
import os
import re
from pathlib import Path

import pytest

import phitui
from phitui.core.files import open_regular, read_small

PACKAGE = Path(phitui.__file__).parent
KERNEL = "a file of the kernel's, in /proc or /sys"
SYNC = "not to read: a folder has to be open to be synced"
# Where something else opens a file, and why.
EXCEPTIONS = {
    ("cli/doctor/machine.py", "nvidia_on_bus"): KERNEL,
    ("cli/doctor/user.py", "own_environment"): KERNEL,
    ("core/files.py", "open_regular"): "what all others use",
    ("core/ipc/child.py", "__init__"): "/dev/null",
    ("engine/local/allocator.py", "_on_request"): KERNEL,
    ("engine/worker/meter.py", "_status"): KERNEL,
    ("engine/worker/out_of_memory.py", "_tightest_limit"): KERNEL,
    ("engine/worker/threads.py", "_processor"): KERNEL,
    ("hardware/host/cgroup.py", "_text"): KERNEL,
    ("hardware/host/copy_rate.py", "_cache"): KERNEL,
    ("hardware/host/cpu.py", "cpu_name"): KERNEL,
    ("hardware/host/cpu_int8.py", "this_cpu_overflows"): KERNEL,
    ("hardware/host/os_processes.py", "_stat"): KERNEL,
    ("hardware/host/os_processes.py", "_resident_pages"): KERNEL,
    ("models/install.py", "_sync"): SYNC,
    ("storage/journal.py", "sync_folder"): SYNC,
    ("storage/sessions/session_recovery.py", "_put_first_page"): "a copy that it has made",
    ("storage/sessions/session_recovery.py", "_stray_rows"): "a copy that it has made",
    ("workbench/batch/lines.py", "__init__"): "a batch's input may be a pipe; it is read in pieces, and can be ended",
}


def opens_to_read(call):
    """Whether a call opens a file to read it."""
    name = ast.unparse(call.func)
    receiver, _, last = name.rpartition(".")
    words = [ast.unparse(word) for word in (*call.args, *call.keywords)]
    if last in ("read_text", "read_bytes"):
        return bool(receiver)  # without one it is the function of piped.py
    if name == "os.open":
        return not re.search("O_CREAT|O_WRONLY", words[1])
    if last != "open":
        return False
    modes = [word for word in words if re.fullmatch(r"(mode=)?'[rwaxbt+]{1,3}'", word)]
    if modes:
        return "r" in modes[0].removeprefix("mode=")
    if receiver in ("", "io"):
        return True
    return any(word.startswith("encoding=") for word in words) or (
        not words and bool(re.search("path|file|folder|/", receiver.lower()))
    )


def readers(tree):
    """The functions in which a file is opened to be read; "" for the module itself."""
    found = set()

    def look(node, function):
        if isinstance(node, ast.Call) and opens_to_read(node):
            found.add(function)
        for child in ast.iter_child_nodes(node):
            look(child, node.name if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else function)

    look(tree, "")
    return found


def test_nothing_reads_a_file_but_through_the_helper():
    found = {
        (path.relative_to(PACKAGE).as_posix(), function)
        for path in PACKAGE.rglob("*.py")
        for function in readers(ast.parse(path.read_text()))
    }
    assert found - set(EXCEPTIONS) == set(), "read it with phitui.core.files"
    assert set(EXCEPTIONS) - found == set(), "exceptions that are none any more"


@pytest.mark.parametrize(
    "source",
    [
        "path.read_bytes()", "(a / 'b').read_text(encoding='utf-8')", "path.open()", "path.open('rb')", "open(x)",
        "path.open(encoding='utf-8')", "path.open(mode='r')", "open(x, 'r')", "os.open(x, os.O_RDONLY)",
    ],
)  # fmt: skip
def test_what_reads_is_found(source):
    assert readers(ast.parse(f"def f():\n    {source}")) == {"f"}


@pytest.mark.parametrize(
    "source",
    ["path.open('wb')", "open(x, 'a')", "os.open(x, os.O_WRONLY)", "app.open('models')", "card.open()", "read_text()"],
)
def test_what_does_not_is_let_be(source):
    assert readers(ast.parse(source)) == set()


def test_a_file_is_read_whole_or_not_at_all(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_small(path, 5) == b"12345"
    with pytest.raises(OSError, match="it has 5 bytes, the limit is 4") as told:
        read_small(path, 4)
    assert told.value.filename == str(path)
    with pytest.raises(OSError, match="it has over 9 bytes, the limit is 9"):
        read_small(Path("/proc/self/status"), 9)  # whose size is told as 0


def test_a_pipe_a_device_and_a_folder_are_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    before = len(os.listdir("/proc/self/fd"))
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(OSError, match="it is not a file"):
            open_regular(path)
    with pytest.raises(IsADirectoryError):
        read_small(tmp_path, 10)
    assert len(os.listdir("/proc/self/fd")) == before
    open_end = os.open(tmp_path / "pipe", os.O_RDWR)
    os.write(open_end, b"waiting")
    with pytest.raises(OSError, match="it is not a file"):
        read_small(tmp_path / "pipe", 10)
    os.close(open_end)
