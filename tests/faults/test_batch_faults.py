"""What goes wrong around a batch: disk, journal, rows that take the engine along; and what is left in the end."""

import json
import os
import resource
import signal
import subprocess
import time

import pytest
from batch_runs import Batch, questions
from support.waiting import until_in_thread


def unbroken(home, rows, **options):
    batch = Batch(home, rows, name="unbroken", **options)
    assert batch.run().returncode == 0
    return batch.by_row()


def limit(size):
    """No file of the process may grow beyond so many bytes: the write fails as on a full disk, with EFBIG."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.parametrize("size", [1, 700, 5000, 20_000])
def test_a_full_disk_is_one_line_and_can_be_resumed(home, size):
    rows = questions(300)
    batch = Batch(home, rows)
    full = batch.run(preexec_fn=limit(size))
    assert full.returncode == 1, full.stderr
    told = [line for line in full.stderr.splitlines() if "cannot be written" in line]
    assert len(told) == 1 and "--resume" in told[0] and told[0].startswith("phitui: ")
    again = batch.run("--resume")
    assert again.returncode == 0, again.stderr
    assert batch.by_row() == unbroken(home, rows)


def test_dev_full_is_one_line(home):
    batch = Batch(home, questions(5))
    words = [*batch.words()[:-1], "/dev/full"]
    done = subprocess.run(words, env=batch.environ, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "No space left on device" in done.stderr and "Traceback" not in done.stderr


def stopped(home, rows, **options):
    """A batch that was killed when some of it was in the output."""
    batch = Batch(home, rows, **options)
    process = batch.start()
    while not (batch.output.exists() and batch.output.stat().st_size > 4000):
        time.sleep(0.005)
        assert process.poll() is None
    process.kill()
    process.communicate()
    return batch


@pytest.mark.parametrize("damage", ["torn", "noise", "flipped", "nothing after the header"])
def test_a_corrupt_tail_of_the_journal_is_cut(home, damage):
    rows = questions(300)
    batch = stopped(home, rows)
    data = batch.journal.read_bytes()
    synced = {"torn": data[:-3], "noise": data + os.urandom(50), "flipped": data[:-20] + b"\xff" + data[-19:]}
    # Whatever a sync has confirmed is in its records: here only what comes after them may be lost.
    batch.journal.write_bytes(synced.get(damage, header_alone(data)))
    assert batch.run("--resume").returncode == 0
    assert batch.by_row() == unbroken(home, rows)


def header_alone(data):
    return data[: 8 + int.from_bytes(data[:4], "little")]


def test_a_torn_last_line_of_the_output_is_cut(home):
    rows = questions(300)
    batch = stopped(home, rows)
    with batch.output.open("ab") as file:
        file.write(b'{"id":"q7","line":8,"text":"' + b"x" * 300_000)  # more than all the rest of the output
    assert batch.run("--resume").returncode == 0
    assert batch.by_row() == unbroken(home, rows)


def test_lines_that_did_not_reach_the_disk_are_run_again(home):
    rows = questions(300)
    batch = stopped(home, rows)
    # As after a power cut: what was not synced is gone from the output, while the journal has it.
    os.truncate(batch.output, batch.synced() + 10)
    again = batch.run("--resume")
    assert again.returncode == 0, again.stderr
    assert "did not reach the disk: run again" in again.stderr
    assert batch.by_row() == unbroken(home, rows)


def test_an_output_that_was_changed_is_refused(home):
    batch = Batch(home, questions(600))
    process = batch.start()
    until_in_thread(lambda: batch.journal.exists() and batch.synced())
    process.kill()
    process.communicate()
    data = batch.output.read_bytes()
    batch.output.write_bytes(b"x" + data[1:])
    done = batch.run("--resume")
    assert done.returncode == 1
    assert "was changed since it was written" in done.stderr
    batch.output.write_bytes(data)
    assert batch.run("--resume").returncode == 0


def test_a_row_that_the_engine_refuses_has_an_error_and_the_others_go_on(home):
    rows = questions(40)
    rows[7]["prompt"] = "RAISE"
    batch = Batch(home, rows)
    done = batch.run()
    assert done.returncode == 1
    assert "line 8: the engine raised" in done.stderr
    errors = [line for line in map(json.loads, batch.lines()) if line["error"]]
    assert errors == [{"id": "q7", "line": 8, "error": "line 8: the engine raised"}]


@pytest.mark.parametrize("options", [(), ("--ordered",)], ids=["as finished", "ordered"])
def test_a_row_that_kills_the_engine_is_found_and_the_others_go_on(home, options):
    rows = questions(60)
    rows[31]["prompt"] = "POISON"
    batch = Batch(home, rows, options=options, ROWS_STEP_S="0.001")
    done = batch.run()
    assert done.returncode == 1, done.stderr
    found = [json.loads(line) for line in batch.by_row()]
    assert [line["id"] for line in found if line["error"]] == ["q31"]
    assert "line 32: the engine died twice while it had nothing but this row" in found[31]["error"]
    healthy = [row for row in rows if row["id"] != "q31"]
    texts = {line["id"]: line["text"] for line in map(json.loads, unbroken(home, healthy))}
    assert {line["id"]: line["text"] for line in found if not line["error"]} == texts


def test_an_engine_that_dies_of_every_row_is_given_up(home):
    batch = Batch(home, [{"prompt": "POISON"}] * 20, ROWS_STEP_S="0.001")
    done = batch.run()
    assert done.returncode == 3
    assert "the engine keeps dying" in done.stderr and "--resume" in done.stderr


def test_two_at_once_on_one_output_are_refused(home):
    batch = Batch(home, questions(300))
    process = batch.start()
    while not batch.journal.exists():
        time.sleep(0.005)
    process.send_signal(signal.SIGSTOP)  # it is not at its end before the second has tried
    second = batch.run("--resume")
    process.send_signal(signal.SIGCONT)
    assert second.returncode == 2
    assert "another phitui is writing" in second.stderr
    assert process.wait(60) == 0
    process.communicate()
