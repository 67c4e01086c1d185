"""The output with its journal: what a later run finds of it."""

import zlib

import pytest
from msgspec.structs import replace

from phitui.core.errors import PhituiError, UsageError
from phitui.storage.journal import (
    VERSION,
    AnswerRecord,
    Counts,
    Done,
    Header,
    Journal,
    MadeRecord,
    SnapshotRecord,
    key_of,
)
from phitui.workbench.batch import output as batch_output
from phitui.workbench.batch.answer import Written
from phitui.workbench.batch.output import KeptRows, Output, journal_path

HEADER = Header(VERSION, 10, "ab", 3, "tiny", "cd", "float32", {"seed": None, "stop": []}, 1700000000)


def line(number, n=1, failed=False):
    return Written(number, f"line {number}\n".encode(), failed, 0 if failed else 5, 0 if failed else 7, n)


def again(path, created=1800000000):
    header = Header(*[getattr(HEADER, name) for name in HEADER.__struct_fields__[:-1]], created)
    return Output.resume(path, header)


def test_a_long_journal_is_written_anew_and_loses_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(batch_output, "_COMPACT_BYTES", 2000)
    path = tmp_path / "out.jsonl"
    output = Output.create(path, HEADER)
    ids = []
    while not output.needs_compaction:
        output.note([MadeRecord(key_of(9, 0), [len(ids)])])
        ids.append(len(ids))
    output.write([line(1), line(2, failed=True)])
    answer = AnswerRecord(key_of(8, 1), "text", "stop", 3, 4)
    before = journal_path(path).stat().st_size
    output.compact(KeptRows({key_of(9, 0): ids}, {answer.key: answer}))
    assert journal_path(path).stat().st_size < before / 2
    assert not output.needs_compaction
    output.write([line(3)])
    output.note([MadeRecord(key_of(9, 0), [77])])
    output.close()
    found = again(path)
    assert found.kept == KeptRows({key_of(9, 0): [*ids, 77]}, {answer.key: answer})
    assert [number for number in range(12) if number in found.done] == [1, 2, 3]
    counts = found.counts
    assert (counts.rows, counts.failed, counts.prompt_tokens, counts.completion_tokens) == (3, 1, 10, 14)
    assert found.header.created == HEADER.created  # ids of lines stay what they were
    found.close()


def test_what_rows_had_made_goes_with_their_line(tmp_path):
    path = tmp_path / "out.jsonl"
    output = Output.create(path, HEADER)
    output.note([MadeRecord(key_of(4, 0), [1]), AnswerRecord(key_of(4, 1), "x", "stop"), MadeRecord(key_of(5, 0), [2])])
    output.write([line(4, n=2)])
    output.close()
    found = again(path)
    assert found.kept == KeptRows({key_of(5, 0): [2]}, {})
    found.close()


def test_a_journal_of_before_stop_strings_were_in_it_had_none(tmp_path):
    path = tmp_path / "out.jsonl"
    Output.create(path, replace(HEADER, settings={"seed": None})).close()
    again(path).close()
    Output.create(tmp_path / "other.jsonl", replace(HEADER, settings={"seed": None})).close()
    with pytest.raises(UsageError, match=r"stop was \[\], now \['x'\]"):
        Output.resume(tmp_path / "other.jsonl", replace(HEADER, settings={"seed": None, "stop": ["x"]}))


@pytest.mark.parametrize(
    ("records", "what"),
    [
        ([SnapshotRecord(0, 0, zlib.compress(bytes(50_000_000)), Counts())], "lines that the input has not"),
        ([Done(1 << 40, 7, zlib.crc32(b"line 1\n"), False, 5, 7)], "line 1099511627776, of an input of 10 bytes"),
    ],
)
def test_a_journal_with_lines_that_the_input_has_not_changes_nothing(tmp_path, records, what):
    path = tmp_path / "out.jsonl"
    path.write_bytes(b"line 1\n")
    Journal.write(journal_path(path), [HEADER, *records]).close()
    before = journal_path(path).read_bytes()
    with pytest.raises(PhituiError, match=what):
        again(path)
    assert path.read_bytes() == b"line 1\n"
    assert journal_path(path).read_bytes() == before


def test_finishing_leaves_the_output_alone(tmp_path):
    path = tmp_path / "out.jsonl"
    output = Output.create(path, HEADER)
    output.write([line(1)])
    output.finish()
    assert [file.name for file in tmp_path.iterdir()] == ["out.jsonl"]
    assert path.read_bytes() == b"line 1\n"


@pytest.mark.parametrize("kept", [0, 3])
def test_resuming_again_and_again_changes_nothing(tmp_path, kept):
    path = tmp_path / "out.jsonl"
    output = Output.create(path, HEADER)
    output.write([line(number) for number in range(1, kept + 1)])
    output.close()
    for _ in range(3):
        found = again(path)
        assert found.counts.rows == kept
        found.close()
    assert path.read_bytes() == b"".join(line(number).data for number in range(1, kept + 1))
