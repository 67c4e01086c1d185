"""Files that only their owner may read: whatever the umask, whatever stands in their place."""

import ast
import os
import stat
from pathlib import Path

import pytest

import phitui
from phitui.core.files import create_private, open_private

ROOT = Path(phitui.__file__).parent
# What a user names is opened as it is: its mode is the user's own, and a link to it is meant.
NAMED_BY_THE_USER = {("hardware/recording.py", "__init__"), ("workbench/batch/output.py", "resume")}
WAYS = {
    "made anew": create_private,
    "opened": lambda path: open_private(path, os.O_WRONLY),
}


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=[0o000, 0o022, 0o077])
def umask(request):
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_whatever_the_umask_and_the_mode_before(way, tmp_path, umask):
    path = tmp_path / "file"
    os.close(way(path))
    assert mode(path) == 0o600
    path.chmod(0o666)
    os.close(way(path))
    assert mode(path) == 0o600


@pytest.mark.parametrize("link", [Path.symlink_to, Path.hardlink_to])
def test_nothing_is_written_through_a_planted_link(link, tmp_path):
    precious, path = tmp_path / "precious", tmp_path / "file"
    precious.write_text("mine")
    link(path, precious)
    with os.fdopen(create_private(path), "w") as file:
        file.write("ours")
    assert (precious.read_text(), path.read_text()) == ("mine", "ours")
    assert not path.is_symlink() and path.stat().st_nlink == 1


@pytest.mark.parametrize("plant", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/null")])
def test_a_pipe_a_folder_or_a_device_is_refused_at_once(plant, tmp_path):
    path = tmp_path / "file"
    plant(path)
    with pytest.raises(OSError):
        open_private(path, os.O_WRONLY)


def opens_for_writing(tree):
    """`(function, line)` of each os.open that may make a file, and of each open() for writing."""
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for call in ast.walk(function):
            if isinstance(call, ast.Call) and "O_CREAT" in ast.unparse(call) and ast.unparse(call.func) == "os.open":
                yield function.name


def test_no_file_is_made_in_another_way():
    found = {
        (str(path.relative_to(ROOT)), name)
        for path in ROOT.rglob("*.py")
        for name in opens_for_writing(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert found - {("core/files.py", "open_private")} == NAMED_BY_THE_USER
