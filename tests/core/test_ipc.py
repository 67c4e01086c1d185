"""Messages to and from a real child process."""

import asyncio
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from support.waiting import until
from terminal import wait_until

from phitui.core.errors import PhituiError, UnavailableError, UsageError
from phitui.core.ipc.frames import MAX_FRAME_BYTES, FrameError, body_length, decoder, pack
from phitui.core.ipc.messages import Failure, Progress
from phitui.core.ipc.parent import Child

ECHO = "children.echo_child"


@pytest.fixture
async def child(tmp_path):
    child = await Child.start(ECHO, Progress | Failure, tmp_path / "logs" / "child.log")
    yield child
    await child.stop(grace_s=1)


async def receive(child):
    return await asyncio.wait_for(child.messages().__anext__(), 10)


def test_a_frame_is_decoded_to_what_was_packed():
    message = Progress("fetch", "φ ✓", 3, 7, "bytes")
    frame = pack(message)
    assert body_length(frame[:4]) == len(frame) - 4
    assert decoder(Progress | Failure)(frame[4:]) == message


@pytest.mark.parametrize("body", [b"", b"\x00", b"\x81\xa4type\xa4Evil", pack(Failure("x"))[4:-1]])
def test_what_is_no_message_is_refused(body):
    with pytest.raises(FrameError):
        decoder(Progress | Failure)(body)


def test_a_frame_that_is_too_long_is_refused_before_it_is_read():
    with pytest.raises(FrameError, match="over the limit"):
        body_length((MAX_FRAME_BYTES + 1).to_bytes(4, "little"))


@pytest.mark.parametrize("kind", [PhituiError, UsageError, UnavailableError])
def test_an_error_keeps_its_kind_between_processes(kind):
    error = Failure.of(kind("what", "do this")).error()
    assert type(error) is kind
    assert str(error) == "what. do this"


async def test_messages_go_there_and_back_in_order(child):
    for number in range(50):
        await child.send(Progress("s", "x" * number * 100, number))
    got = [(await receive(child)).done for _ in range(50)]
    assert got == list(range(50))


async def test_what_a_library_prints_does_not_reach_the_channel(child, tmp_path):
    await child.send(Progress("s", "print"))
    assert (await receive(child)).text == "print"
    log = tmp_path / "logs" / "child.log"
    assert "a child prints too" in log.read_text()
    assert log.stat().st_mode & 0o777 == 0o600


async def test_a_crash_ends_the_messages_and_leaves_its_reason(child):
    await child.send(Progress("s", "crash"))
    assert [message async for message in child.messages()] == []
    assert await child.epitaph() == "killed by SIGABRT: about to crash"


async def test_garbage_is_an_error_not_a_message(child):
    await child.send(Progress("s", "garbage"))
    with pytest.raises(FrameError):
        await receive(child)


async def test_stop_ends_a_child_that_hangs_and_what_it_started(child):
    await child.send(Progress("s", "hang"))
    await until(lambda: psutil.Process(child.pid).children())
    family = [psutil.Process(child.pid), *psutil.Process(child.pid).children(recursive=True)]
    assert len(family) == 2
    status = await child.stop(grace_s=0.2)
    assert status == -signal.SIGTERM
    # What the child had started was told to end; nobody waits for it, and the kernel takes its time.
    assert wait_until(lambda: all(not p.is_running() or p.status() == psutil.STATUS_ZOMBIE for p in family), 60)


async def test_sending_to_a_dead_child_is_no_error(child):
    os.kill(child.pid, signal.SIGKILL)
    await until(lambda: child._process.returncode is not None)
    for _ in range(3):
        await child.send(Progress("s", "x" * 100_000))
    assert [message async for message in child.messages()] == []


async def test_a_log_that_cannot_be_written_stops_nothing(tmp_path):
    (tmp_path / "logs").write_text("a file where the folder should be")
    child = await Child.start(ECHO, Progress, tmp_path / "logs" / "child.log")
    await child.send(Progress("s", "crash"))
    assert [message async for message in child.messages()] == []
    assert await child.epitaph() == "killed by SIGABRT"
    await child.stop()


async def test_a_working_directory_that_was_deleted_stops_nothing(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    child = await Child.start(ECHO, Progress, tmp_path / "child.log")
    await child.send(Progress("s", "hello"))
    assert (await receive(child)).text == "hello"
    await child.stop()


PARENT = """
import asyncio, pathlib, sys
sys.path[:] = {path!r}
from phitui.core.ipc.parent import Child
from phitui.core.ipc.messages import Progress
async def main():
    child = await Child.start("children.echo_child", Progress, pathlib.Path({log!r}))
    await child.send(Progress("s", "hang"))
    print(child.pid, flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""


def test_the_child_dies_with_a_parent_that_is_killed(tmp_path):
    code = PARENT.format(path=sys.path, log=str(tmp_path / "log"))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        pid = int(parent.stdout.readline())
        child = psutil.Process(pid)
        parent.kill()
    deadline = time.monotonic() + 60
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
