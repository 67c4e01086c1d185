"""Rows that the real engine cannot take: it raises, has no memory for one, or dies of it. Each gets one line with the
reason, every other row the answer that it has without them, also after a kill and `--resume`."""

import json
import resource
import shutil
import time

import pytest
from batch_runs import Batch, questions

from phitui.models.manifest import sha256

GIB = 1024**3
# Tokens that the vocabulary has and the weights do not: their embeddings would lie 256 MB behind the table, where
# nothing is mapped, and CTranslate2 does not check ids.
BEYOND = 1_000_000
POISON = "abyss"  # a word, since what looks like a control token is none in a prompt


@pytest.fixture
def model(home, tiny_folder):
    """A tiny Phi-3 that a test may change: its folder, and where it was changed, `sealed` writes its manifest."""
    folder = home / "models" / "altered"
    shutil.copytree(tiny_folder, folder)
    return folder


def sealed(folder, **changes):
    """Make the manifest fit the files again."""
    path = folder / "phitui.json"
    manifest = json.loads(path.read_text()) | changes
    for name, about in manifest["files"].items():
        about["bytes"], about["sha256"] = (folder / name).stat().st_size, sha256(folder / name)
    path.write_text(json.dumps(manifest))


def batch_of(home, rows, model="tiny-phi3", name="out", size=16):
    options = ("--model", model, "--compute-type", "float32", "--batch-size", str(size))
    return Batch(home, rows, standin=False, name=name, options=options)


def greedy(count):
    return [{**row, "temperature": 0} for row in questions(count)]


def texts_of_the_others(home, rows, poison, model="tiny-phi3"):
    """What the rows answer where the bad ones are not there."""
    batch = batch_of(home, [row for row in rows if row["id"] not in poison], model, "healthy")
    done = batch.run()
    assert done.returncode == 0, done.stderr
    return {line["id"]: line["text"] for line in map(json.loads, batch.lines())}


def errors_and_texts(batch):
    """By id; each row of the input is there once."""
    lines = [json.loads(line) for line in batch.by_row()]
    errors = {line["id"]: line["error"] for line in lines if line["error"]}
    return errors, {line["id"]: line["text"] for line in lines if not line["error"]}


def assert_resume_changes_nothing(batch):
    before = batch.lines()
    again = batch.run("--resume")
    assert "complete already" in again.stderr
    assert batch.lines() == before


REFUSED = {
    # What a batch's line may say, and CTranslate2 refuses: it has these as 32-bit floats, where they are 0.
    "q5": ({"repetition_penalty": 1e-300}, "repetition penalty"),
    "q11": ({"temperature": 0.7, "top_p": 1e-300}, "sampling_topp"),
    # One bad sampling for three rows, one call: it is halved until each is alone.
    "q20": ({"temperature": 0.7, "top_k": 600}, "greater than the vocabulary size"),
    "q21": ({"temperature": 0.7, "top_k": 600}, "greater than the vocabulary size"),
    "q59": ({"temperature": 0.7, "top_k": 600}, "greater than the vocabulary size"),
}


@pytest.mark.parametrize("killed", [False, True], ids=["at a stretch", "killed and resumed"])
def test_rows_of_which_the_engine_raises(home, killed):
    rows = greedy(60)
    for row in rows:
        row.update(REFUSED.get(row["id"], ({}, ""))[0])
    batch = batch_of(home, rows, size=4)
    if killed:
        kill_when_something_is_written(batch)
    done = batch.run(*(["--resume"] if killed else []))
    assert done.returncode == 1, done.stderr
    errors, texts = errors_and_texts(batch)
    assert set(errors) == set(REFUSED)
    for name, (_, reason) in REFUSED.items():
        assert f"line {int(name[1:]) + 1}: the engine refuses this row" in errors[name]
        assert reason in errors[name]
    assert texts == texts_of_the_others(home, rows, REFUSED)
    assert_resume_changes_nothing(batch)


def kill_when_something_is_written(batch):
    process = batch.start()
    while not (batch.output.exists() and batch.output.stat().st_size) and process.poll() is None:
        time.sleep(0.001)
    process.kill()
    process.communicate()
    assert batch.journal.exists()


def test_a_row_for_which_there_is_not_memory_even_alone(home, model):
    """Its attention scores alone are 4 heads x 30 000² x 4 bytes = 14 GB; a process may have 4 here."""
    sealed(model, context_window=40_000)
    rows = greedy(20)
    rows[9]["prompt"] = "fox " * 30_000
    batch = batch_of(home, rows, "altered")
    done = batch.run(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (4 * GIB, 4 * GIB)))
    assert done.returncode == 1, done.stderr
    errors, texts = errors_and_texts(batch)
    assert set(errors) == {"q9"}
    assert "line 10: memory ran out for this row alone, at" in errors["q9"]
    assert texts == texts_of_the_others(home, rows, {"q9"}, "altered")
    assert_resume_changes_nothing(batch)


def test_a_row_of_which_the_engine_dies(home, model):
    """A segmentation fault in CTranslate2 itself: the row is found among those that it takes along each time."""
    broken_vocabulary(model)
    rows = greedy(12)
    rows[7]["prompt"] = f"The quick {POISON} fox"
    batch = batch_of(home, rows, "altered")
    done = batch.run()
    assert done.returncode == 1, done.stderr
    errors, texts = errors_and_texts(batch)
    assert set(errors) == {"q7"}
    assert "line 8: the engine died twice while it had nothing but this row" in errors["q7"]
    assert texts == texts_of_the_others(home, rows, {"q7"}, "altered")
    assert_resume_changes_nothing(batch)


def broken_vocabulary(folder):
    """One rare word is a token that the weights do not have."""
    names = json.loads((folder / "vocabulary.json").read_text())
    names += [f"<{number}>" for number in range(BEYOND)] + [POISON]
    (folder / "vocabulary.json").write_text(json.dumps(names))
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    ids = [token["id"] for token in tokenizer["added_tokens"]] + list(tokenizer["model"]["vocab"].values())
    added = {**tokenizer["added_tokens"][0], "id": max(ids) + 1, "content": POISON, "special": False}
    tokenizer["added_tokens"].append(added)
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    sealed(folder)
