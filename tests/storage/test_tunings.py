"""What the tuner found is kept, is stale when anything changes, and a damaged file is a line and no more."""

import msgspec
import pytest

from phitui.core.errors import PhituiError
from phitui.storage.tunings import (
    SERVER_TUNINGS,
    TUNINGS,
    Conditions,
    ServerTuning,
    ServerTuningKey,
    Tuning,
    bucket,
    newest_for,
    stale,
)

HERE = Conditions("AMD EPYC, 2 cores", "", "4.8.5", "ab" * 32, "int8_float32", 512)
FOUND = Tuning(
    HERE, "smollm2-135m", "2026-01-02T03:04:05+00:00", 256, 256, 2, 1, 104, 128, 65536, 571.0, 10**9, 2 * 10**9, "why"
)


def test_it_comes_back_newest_first_and_mode_0600(tmp_path):
    path = tmp_path / "home" / "tunings.json"
    older = msgspec.structs.replace(
        FOUND, conditions=msgspec.structs.replace(HERE, bucket=1024), made="2025-01-01T00:00:00+00:00"
    )
    TUNINGS.add(path.parent, older)
    TUNINGS.add(path.parent, FOUND)
    assert TUNINGS.read(path.parent) == ([FOUND, older], "")
    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["tunings.json"]


def test_the_same_conditions_are_replaced(tmp_path):
    path = tmp_path / "tunings.json"
    TUNINGS.add(path.parent, FOUND)
    again = msgspec.structs.replace(FOUND, batch=96)
    TUNINGS.add(path.parent, again)
    assert TUNINGS.read(path.parent)[0] == [again]


@pytest.mark.parametrize("content", [b"\xff{not json", b"[]", b'{"tunings": [{"batch": "many"}]}', b"[" * 100_000])
def test_a_damaged_file_is_said_and_ignored_and_written_anew(tmp_path, content):
    path = tmp_path / "tunings.json"
    path.write_bytes(content)
    found, problem = TUNINGS.read(path.parent)
    assert found == []
    assert "tunings.json is damaged and ignored" in problem
    assert "\n" not in problem
    TUNINGS.add(path.parent, FOUND)
    assert TUNINGS.read(path.parent) == ([FOUND], "")


def test_a_file_from_before_the_costs_were_kept_still_reads(tmp_path):
    path = tmp_path / "tunings.json"
    stored = msgspec.to_builtins(FOUND)
    new = ("step_fixed_s", "step_row_s", "step_token_s", "prefill_call_s", "prefill_token_s", "spread", "measurements")
    path.write_bytes(msgspec.json.encode({"tunings": [{k: v for k, v in stored.items() if k not in new}]}))
    assert TUNINGS.read(path.parent) == ([FOUND], "")


def test_no_file_is_no_problem(tmp_path):
    assert TUNINGS.read(tmp_path) == ([], "")


def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PhituiError, match="cannot be written"):
        TUNINGS.add(tmp_path / "file", FOUND)


@pytest.mark.parametrize(
    ("field", "word"),
    [("device", "device"), ("driver", "driver"), ("engine", "CTranslate2"), ("model", "weights")],
)
def test_it_is_stale_when_anything_changes(field, word):
    assert word in stale(FOUND, msgspec.structs.replace(HERE, **{field: "another"}))


def test_it_is_stale_when_memory_no_longer_suffices():
    assert stale(FOUND, HERE) == ""
    assert stale(FOUND, HERE, usable_bytes=10**9) == ""
    assert stale(FOUND, HERE, usable_bytes=10**9 - 1) == "it takes 0.93 GiB, 0.93 GiB are usable now"


def test_lengths_fall_into_powers_of_two():
    assert [bucket(n) for n in (1, 256, 257, 512, 4096, 5000)] == [256, 256, 512, 512, 4096, 8192]
    assert newest_for([FOUND], "smollm2-135m", 512, "another") == FOUND
    assert newest_for([FOUND], "smollm2-135m", 1024, "") is None
    assert newest_for([FOUND], "phi-3-mini", 512, "") is None


def test_of_several_devices_this_one_counts():
    elsewhere = msgspec.structs.replace(FOUND.conditions, device="GPU-2")
    newer = msgspec.structs.replace(FOUND, conditions=elsewhere, made="2999-01-01")
    stored = [newer, FOUND]
    assert newest_for(stored, "smollm2-135m", 512, FOUND.conditions.device) == FOUND
    assert newest_for(stored, "smollm2-135m", 512, "GPU-2") == newer


SERVERS = ServerTuning(
    ServerTuningKey("box", "box:8000", 256, 256), "m", "vllm", None, "2026-01-01", 8, 8, None, 100.0, None, 1, "waiting"
)


@pytest.mark.parametrize(
    ("entry", "file", "name"),
    [(FOUND, TUNINGS, "tunings.json"), (SERVERS, SERVER_TUNINGS, "engine-tunings.json")],
    ids=["engine", "servers"],
)
def test_a_damaged_file_is_kept_aside(tmp_path, entry, file, name):
    for number, aside in enumerate((f"{name}.damaged", f"{name}.damaged1")):
        (tmp_path / name).write_text(f"not JSON {number}")
        assert aside in file.add(tmp_path, entry)
        assert (tmp_path / aside).read_text() == f"not JSON {number}"
        assert file.read(tmp_path) == ([entry], "")
    assert file.add(tmp_path, entry) == ""
