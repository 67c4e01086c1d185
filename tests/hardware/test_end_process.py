"""Ending a process: just the one that was chosen."""

import os
import signal
import subprocess
import sys
import time

import msgspec
import psutil
import pytest

from phitui.core.errors import PhituiError
from phitui.hardware.host import end_process
from phitui.hardware.snapshot import Process

SLEEPER = "import signal, time; print('up', flush=True); time.sleep(60)"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


@pytest.fixture
def start():
    children = []

    def begin(code=SLEEPER):
        child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        children.append(child)
        child.stdout.readline()
        return child

    yield begin
    for child in children:
        child.kill()
        child.wait()
        child.stdout.close()


def listed(pid):
    return Process(pid, "C", name="x", started=psutil.Process(pid).create_time())


def test_sigterm_ends_it(start):
    child = start()
    target = end_process.choose(listed(child.pid))
    assert target.pid == child.pid
    assert not end_process.ended(target)
    end_process.send(target, signal.SIGTERM)
    assert end_process.ended(target, 5)
    assert child.wait() == -signal.SIGTERM


def test_one_that_ignores_sigterm_needs_sigkill(start):
    child = start(STUBBORN)
    target = end_process.choose(listed(child.pid))
    end_process.send(target, signal.SIGTERM)
    assert not end_process.ended(target, 0.3)
    end_process.send(target, signal.SIGKILL)
    assert end_process.ended(target, 5)


def test_another_process_with_its_id_is_left_alone(start):
    child = start()
    before = msgspec.structs.replace(listed(child.pid), started=time.time() - 5000)
    with pytest.raises(PhituiError, match="not the one that was listed"):
        end_process.choose(before)
    unknown = {"started": "belongs to another PID namespace"}
    with pytest.raises(PhituiError, match="belongs to another PID namespace"):
        end_process.choose(msgspec.structs.replace(before, started=None, unavailable=unknown))
    assert child.poll() is None


def test_an_id_that_went_to_another_between_asking_and_sending(start):
    child = start()
    target = end_process.choose(listed(child.pid))
    target.seen._ident = (child.pid, 1.0)  # as psutil would know one that has ended
    with pytest.raises(PhituiError, match="has ended"):
        end_process.send(target, signal.SIGTERM)
    assert child.poll() is None


def test_one_that_has_ended_meanwhile(start):
    child = start()
    process = listed(child.pid)
    target = end_process.choose(process)
    child.kill()
    child.wait()
    with pytest.raises(PhituiError, match=f"process {child.pid} has ended"):
        end_process.send(target, signal.SIGTERM)
    with pytest.raises(PhituiError, match="has ended"):
        end_process.choose(process)
    assert end_process.ended(target)


@pytest.mark.parametrize("pid", [-1, 0, 1])
def test_what_is_no_single_process_is_refused(pid):
    with pytest.raises(PhituiError, match="first one"):
        end_process.choose(Process(pid, "C", started=0.0))


def test_phitui_and_its_parents_are_refused():
    for pid in (os.getpid(), os.getppid()):
        if pid > 1:
            with pytest.raises(PhituiError, match="phitui itself"):
                end_process.choose(listed(pid))


@pytest.mark.skipif(
    os.geteuid() != 0 or not os.path.exists("/usr/bin/setpriv"), reason="needs root, to be another user"
)
def test_no_permission_is_one_line(start):
    child = start()
    code = (
        "import signal, sys\nsys.path[:0] = sys.argv[2].split(':')\nimport psutil\n"
        "from phitui.core.errors import PhituiError\nfrom phitui.hardware.host import end_process\n"
        "from phitui.hardware.snapshot import Process\npid = int(sys.argv[1])\n"
        "target = end_process.choose(Process(pid, 'C', started=psutil.Process(pid).create_time()))\n"
        "try:\n    end_process.send(target, signal.SIGTERM)\nexcept PhituiError as error:\n    print(error)\n"
    )
    words = ["/usr/bin/setpriv", "--reuid=65534", "--clear-groups", sys.executable, "-c", code]
    words += [str(child.pid), ":".join(sys.path)]
    done = subprocess.run(words, capture_output=True, text=True)
    if "Permission" in done.stderr:
        pytest.skip("the other user cannot read this Python")
    assert done.stdout.startswith(f"no permission to end process {child.pid} ("), done.stderr
    assert child.poll() is None
