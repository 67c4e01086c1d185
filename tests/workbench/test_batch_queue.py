"""The console's queue of files, on the real engine, while models come and go."""

import json
import os

import pytest
from support.benches import Bench
from support.waiting import until

from phitui.engine.protocol.api import Load

GIB = 1024**3


@pytest.fixture
async def queue(home):
    engine = {"device": "cpu", "compute_type": "float32", "threads": 1, "restart_limit": 0}
    settings = {"generation": {"max_tokens": 20, "temperature": 0.0}, "model": {"name": "tiny-phi3"}}
    async with Bench(**settings, engine=engine) as bench:
        yield bench.batches


def load(home, name):
    return Load(str(home / "models" / name), "cpu", "float32", 1, str(home / "profiles.json"))


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


async def test_a_file_that_is_still_being_read_is_cancelled_and_the_next_begins(queue, tmp_path):
    first = queue.add(rows_at_the_end_of(tmp_path / "long.jsonl", 200 * GIB))
    second = queue.add(rows_at_the_end_of(tmp_path / "short.jsonl", 1))
    await until(lambda: first.state == "reading")
    assert queue.cancel(first)
    await until(lambda: second.state == "complete")
    assert first.state == "stopped"
    assert not first.order.target.exists()


async def test_the_model_that_is_there_when_a_file_has_been_read_runs_it(queue, home, tmp_path):
    entry = queue.add(rows_at_the_end_of(tmp_path / "in.jsonl", GIB))
    await until(lambda: entry.state == "reading")
    await queue._engine.load(load(home, "smollm2-135m"))
    await until(lambda: entry.state in ("complete", "failed"))
    assert (entry.state, entry.error) == ("complete", "")
    lines = [json.loads(line) for line in entry.order.target.read_text().splitlines()]
    assert {line["response"]["body"]["model"] for line in lines if "custom_id" in line} == {"smollm2-135m"}
    assert len(lines) == 5


async def test_another_process_with_the_same_model_goes_on_with_the_rows(queue, home, tmp_path):
    """None of them was done before: that is no batch that left its rows out."""
    entry = queue.add(rows_at_the_end_of(tmp_path / "in.jsonl", 1, max_tokens=3000))
    await until(lambda: entry.state == "running" and entry.progress.tokens)
    await queue._engine.load(load(home, "tiny-phi3"))
    await until(lambda: entry.state in ("complete", "failed"))
    assert (entry.state, entry.error) == ("complete", "")
