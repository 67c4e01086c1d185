"""The same on the real engine: a tiny Phi-3 in float32, greedy, so that every run has to make the same tokens."""

import contextlib
import json
import os
import random
import resource
import threading
import time

from batch_runs import KILLS, PATIENCE_S, Batch, questions, worker_of

SEED = int(os.environ.get("PHITUI_TEST_SEED", "0")) or random.randrange(1, 1 << 30)
MIB = 1024**2
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
    wanted = rows(150 * KILLS, long=400)
    batch = real(home, wanted)
    assert batch.kill_at_random(SEED, 0.15) == KILLS
    assert batch.by_row() == unbroken(home, wanted)


def test_kill_9_of_the_engine(home):
    wanted = rows(150 * KILLS, long=400)
    batch = real(home, wanted)
    process = batch.start()
    killed = batch.kill_engine_at_random(process, SEED, 0.15)
    _, told = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, told
    assert killed == KILLS
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
    """The engine's process may map little more for as long as it has not said so, again and again: no row is lost or
    doubled. The limit is a real one, and so are the failures: one in a thread of a library may end the process."""
    wanted = [{**row, "max_tokens": 48} for row in rows(24)]
    options = ("--model", "smollm2-135m", "--compute-type", "float32", "--batch-size", "12")
    whole = Batch(home, wanted, standin=False, name="unbroken", options=options)
    assert whole.run().returncode == 0
    batch = Batch(home, wanted, standin=False, options=options)
    print(f"seed {SEED}")
    draw = random.Random(SEED)
    process = batch.start("--json")
    told = Told(process)
    while "rows as asked" not in told.text:  # the model is loaded
        time.sleep(0.01)
    for number in range(1, 4):
        time.sleep(draw.uniform(0.2, 1.0))
        if process.poll() is not None or "the engine died" in told.text:
            break  # the next engine has its weights to load, which takes all that is free
        squeeze(worker_of(process), lambda number=number: told.failures() >= number, process)
    assert process.wait(PATIENCE_S) == 0, told.text
    assert told.failures() >= 1, told.text
    assert json.loads(process.stdout.read())["files"][0]["this_run"]["engine_deaths"] <= 1
    assert batch.by_row() == whole.by_row()


class Told:
    """What a process says on standard error, as it comes."""

    def __init__(self, process):
        self.text = ""
        self._process = process
        threading.Thread(target=self._read, daemon=True).start()

    def failures(self):
        """How often memory ran out, whether the engine could say so or died of it."""
        return self.text.count("memory ran out at") + self.text.count("the engine died")

    def _read(self):
        for line in self._process.stderr:
            self.text += line


def squeeze(worker, over, process):
    """Until it is over, no allocation much beyond what the process has: as where others hold all memory."""
    free = resource.prlimit(worker.pid, resource.RLIMIT_DATA)
    with open(f"/proc/{worker.pid}/status") as status:
        data = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmData:"))
    resource.prlimit(worker.pid, resource.RLIMIT_DATA, (data + 2 * MIB, free[1]))
    while not over() and process.poll() is None:
        time.sleep(0.002)
    with contextlib.suppress(ProcessLookupError):  # the run has ended without
        resource.prlimit(worker.pid, resource.RLIMIT_DATA, free)
