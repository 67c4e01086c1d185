"""The console's queue of files, on the real engine, while models come and go."""

import asyncio
import json
import os
import time

import pytest

from phitui.config.layers import load_config
from phitui.engine.protocol.api import Load
from phitui.workbench.batch.queue import BatchDesk
from phitui.workbench.engines import Engines

GIB = 1024**3


@pytest.fixture
async def desk(home, tmp_path):
    settings = {"generation": {"max_tokens": 20, "temperature": 0.0}}
    desk = None

    def on_event(event):
        desk.take(event)

    engine = Engines(tmp_path / "engine.log", on_event, restart_limit=0)
    desk = BatchDesk(engine, load_config(overrides=settings), lambda entry: None)
    await engine.load(load(home, "tiny-phi3"))
    await until(lambda: engine.loaded)
    yield desk
    await desk.close()
    await engine.stop()


def load(home, name):
    return Load(str(home / "models" / name), "cpu", "float32", 1, str(home / "profiles.json"))


async def until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


def rows_at_the_end_of(path, size, count=4, **options):
    """A first line of zeros that takes long to read and little of the disk, and rows."""
    with path.open("wb") as file:
        os.truncate(path, size)
        file.seek(size)
        file.write(b"\n")
        for number in range(count):
            messages = [{"role": "user", "content": f"question {number}"}]
            row = {"custom_id": f"q{number}", "method": "POST", "url": "/v1/chat/completions"}
            file.write(json.dumps({**row, "body": {"messages": messages, **options}}).encode() + b"\n")
    return path


async def test_a_file_that_is_still_being_read_is_cancelled_and_the_next_begins(desk, tmp_path):
    first = desk.add(rows_at_the_end_of(tmp_path / "long.jsonl", 200 * GIB))
    second = desk.add(rows_at_the_end_of(tmp_path / "short.jsonl", 1))
    await until(lambda: first.state == "reading")
    assert desk.cancel(first)
    await until(lambda: second.state == "complete")
    assert first.state == "stopped"
    assert not first.order.target.exists()


async def test_the_model_that_is_there_when_a_file_has_been_read_runs_it(desk, home, tmp_path):
    entry = desk.add(rows_at_the_end_of(tmp_path / "in.jsonl", GIB))
    await until(lambda: entry.state == "reading")
    await desk._engine.load(load(home, "smollm2-135m"))
    await until(lambda: entry.state in ("complete", "failed"))
    assert (entry.state, entry.error) == ("complete", "")
    lines = [json.loads(line) for line in entry.order.target.read_text().splitlines()]
    assert {line["response"]["body"]["model"] for line in lines if "custom_id" in line} == {"smollm2-135m"}
    assert len(lines) == 5


async def test_another_process_with_the_same_model_goes_on_with_the_rows(desk, home, tmp_path):
    """None of them was done before: that is no batch that left its rows out."""
    entry = desk.add(rows_at_the_end_of(tmp_path / "in.jsonl", 1, max_tokens=3000))
    await until(lambda: entry.state == "running" and entry.progress.tokens)
    await desk._engine.load(load(home, "tiny-phi3"))
    await until(lambda: entry.state in ("complete", "failed"))
    assert (entry.state, entry.error) == ("complete", "")
