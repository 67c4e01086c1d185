"""`phitui model` as scripts use it: the real command on a store with real models."""

import json
import os
import shutil
import subprocess

import pytest
from terminal import Console, command, environment
from tiny_phi3 import make_tiny_phi3

from phitui.models.manifest import MANIFEST_NAME, verify


def model(home, *arguments):
    return subprocess.run(
        command("model", *arguments), env=environment(home), cwd=home, capture_output=True, timeout=60, text=True
    )


def fails(done, code, *words):
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    lines = done.stderr.strip().splitlines()
    assert lines[-1].startswith("phitui: ") and "Traceback" not in done.stderr
    assert all(word in lines[-1] for word in words), lines[-1]


@pytest.fixture
def store(home):
    """The store, with a copy of the tiny model that may be damaged."""
    models = home / "models"
    tiny = os.path.realpath(models / "tiny-phi3")
    (models / "tiny-phi3").unlink()
    shutil.copytree(tiny, models / "tiny-phi3")
    return models


def test_list_has_size_precision_and_context(home, store):
    (store / "broken").mkdir()
    done = model(home, "list")
    assert done.returncode == 0
    rows = {row.split("\t")[0]: row.split("\t") for row in done.stdout.splitlines()}
    assert rows["smollm2-135m"][1:] == ["SmolLM2 135M Instruct", "int8", "0.14 GB", "8192 tokens"]
    assert rows["tiny-phi3"][1:] == ["Tiny Phi-3", "float32", "0.00 GB", "4096 tokens"]
    assert rows["broken"][1] == "damaged" and MANIFEST_NAME in rows["broken"][2]


def test_list_as_json_has_the_raw_figures(home, store):
    (store / "broken").mkdir()
    rows = {row["name"]: row for row in json.loads(model(home, "list", "--json").stdout)}
    tiny, broken = rows["tiny-phi3"], rows["broken"]
    assert (tiny["title"], tiny["quantization"], tiny["context_window_tokens"]) == ("Tiny Phi-3", "float32", 4096)
    assert tiny["size_bytes"] == verify(store / "tiny-phi3").total_bytes
    assert (tiny["folder"], tiny["error"]) == (str(store / "tiny-phi3"), None)
    assert broken["title"] is broken["size_bytes"] is None and MANIFEST_NAME in broken["error"]


def test_list_on_a_terminal_is_a_table_and_what_is_damaged_is_said_below_it(home, store):
    (store / "broken").mkdir()
    with Console(command("model", "list"), environment(home), 80, 12, cwd=home) as console:
        assert console.wait_ended() == 0
        header, broken, demo, tiny, below, *_ = console.text().splitlines()
    size = header.index("size") + len("size")
    assert header.split() == ["name", "title", "precision", "size", "context", "window"]
    assert broken.split() == ["broken", "damaged"] and below.startswith("phitui: ")
    assert demo[:size].endswith("0.14 GB") and tiny[:size].endswith("0.00 GB")
    assert demo.endswith(" 8192 tokens") and len(demo) == len(tiny) == len(header)


def test_a_list_of_no_models_says_how_to_get_one(tmp_path):
    done = model(tmp_path, "list")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "There are no models yet. To fetch one: phitui model pull phi-3-mini\n"
    assert model(tmp_path, "list", "--json").stdout == "[]\n"


def test_a_title_cannot_draw_columns_or_colours(home, store):
    path = store / "tiny-phi3" / MANIFEST_NAME
    path.write_text(path.read_text().replace("Tiny Phi-3", "Tiny\\t\\u001b[31mPhi"))
    row = next(row for row in model(home, "list").stdout.splitlines() if row.startswith("tiny-phi3"))
    assert "\x1b" not in row and len(row.split("\t")) == 5


def test_verify_says_ok_or_which_file_differs(home, store):
    done = model(home, "verify", "tiny-phi3")
    assert done.returncode == 0
    assert done.stdout.startswith("tiny-phi3\tok\t4 files\t")
    assert "Checking tiny-phi3" in done.stderr
    by_path = model(home, "verify", str(store / "tiny-phi3"))
    assert by_path.stdout == done.stdout
    weights = store / "tiny-phi3" / "model.bin"
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.write_bytes(data)
    fails(model(home, "verify", "tiny-phi3"), 1, "model.bin", "hash differs", "pull")


@pytest.mark.parametrize("action", ["verify", "rm"])
@pytest.mark.parametrize("name", ["phi-3-mini", "nothing-of-the-kind", "../models", ""])
def test_what_is_not_in_the_store(home, action, name):
    fails(model(home, action, name), 2, "no model", repr(name))


def test_rm_removes_one_model_and_nothing_else(home, store):
    assert model(home, "rm", "tiny-phi3").returncode == 0
    assert [path.name for path in store.iterdir() if path.name[0] != "."] == ["smollm2-135m"]
    assert not [path for path in store.iterdir() if path.name.startswith(".partial-")]
    fails(model(home, "rm", "tiny-phi3"), 2, "tiny-phi3")


def test_rm_takes_a_link_away_and_leaves_its_target(home, demo_folder):
    assert model(home, "rm", "smollm2-135m").returncode == 0
    assert not os.path.lexists(home / "models" / "smollm2-135m")
    verify(demo_folder)


def test_rm_removes_a_damaged_model(home, store):
    (store / "tiny-phi3" / MANIFEST_NAME).unlink()
    assert model(home, "rm", "tiny-phi3").returncode == 0
    assert not (store / "tiny-phi3").exists()


def test_convert_into_a_folder_of_ones_own(home, tmp_path):
    make_tiny_phi3(tmp_path / "hub")
    target = tmp_path / "deep" / "mine"
    done = model(home, "convert", str(tmp_path / "hub"), "-o", str(target), "--quantization", "int8")
    assert (done.returncode, done.stdout) == (0, f"{target}\n"), done.stderr
    assert verify(target).quantization == "int8"
    assert not (home / "models" / "mine").exists()
    assert [path.name for path in target.parent.iterdir()] == ["mine"]  # no lock beside it
    again = model(home, "convert", str(tmp_path / "hub"), "-o", str(target), "--quantization", "float32")
    assert again.returncode == 0
    assert verify(target).quantization == "float32"


def test_convert_never_replaces_what_is_no_model(home, tmp_path):
    make_tiny_phi3(tmp_path / "hub")
    before = sorted(path.name for path in (tmp_path / "hub").iterdir())
    fails(model(home, "convert", str(tmp_path / "hub"), "-o", str(tmp_path / "hub")), 2, "not a converted model")
    assert sorted(path.name for path in (tmp_path / "hub").iterdir()) == before


@pytest.mark.parametrize(
    "words, says",
    [
        (["convert", "nowhere.gguf"], "nowhere.gguf"),
        (["convert", ".", "-o", "x", "-n", "y"], "not allowed with"),
        (["rm"], "NAME"),
        (["paint"], "paint"),
        (["pull", "../../etc"], "organisation/model"),
        (["pull", "phi3"], "Did you mean phi-3-mini, phi-3.5-mini or phi-3-mini-128k? Others of"),
        (["pull", "nothing-like-it"], "Known are: phi-3-mini, "),
        (["verify", "tinyphi"], "Did you mean tiny-phi3?"),
        (["rm", "smollm2"], "Did you mean smollm2-135m? phitui model list shows"),
    ],
)
def test_wrong_usage(home, words, says):
    fails(model(home, *words), 2, says)


def test_convert_says_why_it_cannot(home, tmp_path):
    make_tiny_phi3(tmp_path / "hub")
    (tmp_path / "hub" / "config.json").write_text("{")
    fails(model(home, "convert", str(tmp_path / "hub")), 1, "config.json", "damaged")
    fails(model(home, "convert", str(tmp_path / "hub"), "--quantization", "int3"), 1, "config.json")


def test_rm_waits_for_nobody(home, store):
    """While another process makes the model, its lock is held."""
    import fcntl

    with open(store / ".lock-tiny-phi3", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        fails(model(home, "rm", "tiny-phi3"), 1, "another phitui is preparing tiny-phi3")
    assert verify(store / "tiny-phi3")


def test_convert_for_a_context_window(home, tmp_path):
    folder = make_tiny_phi3(tmp_path / "hub")
    made = model(home, "convert", str(folder), "--name", "small", "--context", "512", "--quantization", "float32")
    assert made.returncode == 0, made.stderr
    row = next(row for row in model(home, "list").stdout.splitlines() if row.startswith("small\t"))
    assert row.endswith("\t512 tokens")


@pytest.mark.parametrize("tokens", ["0", "-5", "15", "many", "1e3", "4.5", "", "99999999999", "٤٠٩٦"])
def test_a_wrong_context_window(home, tmp_path, tokens):
    folder = make_tiny_phi3(tmp_path / "hub")
    fails(model(home, "convert", str(folder), f"--context={tokens}"), 2, "--context", "whole number from 16 on")
