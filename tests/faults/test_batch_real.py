"""The same on the real engine: a tiny Phi-3 in float32, greedy, so that every run has to make the same tokens."""

import contextlib
import json
import os
import random
import resource
import time

from batch_runs import KILLS, PATIENCE_S, Batch, questions, worker_of

SEED = int(os.environ.get("PHITUI_TEST_SEED", "0")) or random.randrange(1, 1 << 30)
REAL = ("--model", "tiny-phi3", "--compute-type", "float32", "--batch-size", "16")


def rows(count, long=40):
    draw = random.Random(count)
    return [{**row, "max_tokens": draw.randint(1, long), "temperature": 0} for row in questions(count)]


def real(home, wanted, name="out", options=()):
    return Batch(home, wanted, standin=False, name=name, options=(*REAL, *options))


def unbroken(home, wanted):
    batch = real(home, wanted, "unbroken")
    done = batch.run()
    assert done.returncode == 0, done.stderr
    return batch.by_row()


def test_kill_9_of_the_command(home):
    wanted = rows(50 * KILLS, long=400)
    batch = real(home, wanted)
    assert batch.kill_at_random(SEED, 2.0) > KILLS // 3
    assert batch.by_row() == unbroken(home, wanted)


def test_kill_9_of_the_engine(home):
    wanted = rows(50 * KILLS, long=400)
    batch = real(home, wanted)
    process = batch.start()
    killed = batch.kill_engine_at_random(process, SEED, 1.0)
    _, told = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, told
    assert killed > KILLS // 2
    assert batch.by_row() == unbroken(home, wanted)


def test_rows_of_every_kind(home):
    wanted = rows(20)
    wanted[3]["stop"] = "e"
    wanted[4]["n"] = 2
    wanted[5] = {
        "id": "q5",
        "messages": [{"role": "user", "content": "Hello."}],
        "system": "Be brief.",
        "max_tokens": 9,
    }
    wanted[6]["prompt"] = "word " * 5000
    wanted[7]["prompt"] = "NUL \x00 and \x1b escape"
    wanted[8] = {
        "custom_id": "q8", "method": "POST", "url": "/v1/chat/completions",
        "body": {"messages": [{"role": "user", "content": "Hello."}], "max_tokens": 5},
    }  # fmt: skip
    batch = real(home, wanted)
    done = batch.run()
    assert done.returncode == 1, done.stderr
    found = {line.get("id"): line for line in map(json.loads, batch.lines()) if "line" in line}
    openai = [line for line in map(json.loads, batch.lines()) if "custom_id" in line]
    assert len(batch.lines()) == 20
    assert [name for name, line in found.items() if line["error"]] == ["q6"]
    assert "does not fit" in found["q6"]["error"]
    assert "e" not in found["q3"]["text"]
    assert found["q4"]["choices"][0] == found["q4"]["choices"][1]
    assert openai[0]["response"]["body"]["usage"]["completion_tokens"] <= 5


def test_memory_that_runs_out_at_random_steps(home):
    """The engine's process may map nothing more for some steps, again and again: no row is lost or doubled."""
    wanted = rows(200, long=400)
    batch = real(home, wanted)
    print(f"seed {SEED}")
    draw = random.Random(SEED)
    process = batch.start()
    while not batch.output.exists():
        time.sleep(0.01)
    for _ in range(KILLS):
        time.sleep(draw.uniform(0.1, 0.4))
        worker = worker_of(process)
        if worker is not None and process.poll() is None:
            squeeze(worker, 0.03)
    _, told = process.communicate(timeout=PATIENCE_S)
    assert "memory ran out at" in told or "the engine died" in told
    assert process.returncode == 0, told
    assert batch.by_row() == unbroken(home, wanted)


def squeeze(worker, seconds):
    """No allocation beyond what the process has: as where others hold all memory. The limit is a real one."""
    free = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    resource.prlimit(worker.pid, resource.RLIMIT_AS, (worker.memory_info().vms, resource.RLIM_INFINITY))
    time.sleep(seconds)
    with contextlib.suppress(ProcessLookupError):  # not every library lives through it
        resource.prlimit(worker.pid, resource.RLIMIT_AS, free)
