"""A batch that is killed at random moments: in the end every row has one answer, the one of an unbroken run."""

import json
import os
import random
import signal
import time

import pytest
from batch_runs import KILLS, PATIENCE_S, Batch, questions

SEED = int(os.environ.get("PHITUI_TEST_SEED", "0")) or random.randrange(1, 1 << 30)


@pytest.fixture
def unbroken(home):
    def run(rows, **options):
        batch = Batch(home, rows, name="unbroken", **options)
        done = batch.run()
        assert done.returncode == 0, done.stderr
        return batch.by_row()

    return run


@pytest.mark.parametrize("options", [(), ("--ordered",)], ids=["as finished", "ordered"])
def test_kill_9_of_the_command(home, unbroken, options):
    rows = questions(100 * KILLS)
    batch = Batch(home, rows, options=options)
    assert batch.kill_at_random(SEED, 0.3) == KILLS
    assert batch.by_row() == unbroken(rows)
    if options:
        assert [json.loads(line)["id"] for line in batch.lines()] == [row["id"] for row in rows]


def test_kill_9_with_many_answers_to_a_prompt(home, unbroken):
    rows = [{**row, "n": 1 + place % 3} for place, row in enumerate(questions(50 * KILLS))]
    batch = Batch(home, rows)
    assert batch.kill_at_random(SEED, 0.3) == KILLS
    assert batch.by_row() == unbroken(rows)


def test_kill_9_of_the_engine(home, unbroken):
    rows = questions(150 * KILLS)
    batch = Batch(home, rows)
    process = batch.start("--json")
    killed = batch.kill_engine_at_random(process, SEED, 0.2)
    out, told = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, told
    assert json.loads(out)["files"][0]["this_run"]["engine_deaths"] == killed == KILLS
    assert batch.by_row() == unbroken(rows)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_signal_keeps_what_is_done_and_the_tokens_of_what_was_begun(home, unbroken, number):
    rows = questions(400)
    batch = Batch(home, rows)
    process = batch.start()
    while not (batch.output.exists() and batch.output.stat().st_size > 2000):
        time.sleep(0.01)
    process.send_signal(number)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert "--resume goes on" in told
    before = batch.lines()
    assert 0 < len(before) < len(rows)
    done = batch.run("--resume")
    assert done.returncode == 0, done.stderr
    assert f"going on: {len(before)} row" in done.stderr
    assert batch.lines()[: len(before)] == before
    assert batch.by_row() == unbroken(rows)
