"""A file that is a pipe, a device, a folder, far too large or nested too deep is told in one line, at once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent.parent
# These count as empty: what was measured is measured again.
SILENT = {"profiles"}


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "large"])
def test_each_reader_refuses_it(tmp_path, kind):
    for name, said in reads(tmp_path, kind).items():
        assert said.startswith("refused: ") or "cannot be read" in said or name in SILENT, f"{name}: {said}"


def test_no_reader_falls_over_deep_nesting(tmp_path):
    reads(tmp_path, "deep")


def reads(folder, kind):
    """What each reader says: as a whole they end, within 2 GB of memory, and none raises what nobody is told."""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS.parent), str(TESTS)])}
    done = subprocess.run(
        [sys.executable, "-m", "children.hostile_reads", str(folder), kind],
        env=environ, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    said = dict(line.partition(" ")[::2] for line in done.stdout.splitlines())
    assert len(said) > 15
    return said
