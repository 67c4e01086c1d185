"""The journal of a batch: what was appended comes back, up to the last whole record."""

import os
import random
import stat
import struct
import zlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phitui.core.errors import PhituiError
from phitui.storage.journal import (
    VERSION,
    AnswerRecord,
    Counts,
    Done,
    Header,
    Journal,
    LineSet,
    MadeRecord,
    SnapshotRecord,
    Synced,
    read_journal,
)

HEADER = Header(
    VERSION, 10, "ab", 3, "tiny", "cd", "float32", {"max_tokens": 5, "system": "", "seed": None}, 1700000000
)
RECORDS = [
    SnapshotRecord(0, 0, b"", Counts()),
    MadeRecord(128, [1, 2, 300, 70000]),
    AnswerRecord(129, "text \x00 é", "stop", 4, 2),
    Done(1, 100, 12345, False, 7, 8, 2),
    Synced(100),
]


def write(path, records):
    journal = Journal.write(path, [HEADER])
    journal.append(records[:2])
    journal.append(records[2:])
    journal.sync()
    journal.close()


def test_what_was_written_comes_back_and_is_the_users_alone(tmp_path):
    path = tmp_path / "out.journal"
    write(path, RECORDS)
    assert list(read_journal(path)) == [HEADER, *RECORDS]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["out.journal"]


def test_any_cut_leaves_whole_records(tmp_path):
    path = tmp_path / "out.journal"
    write(path, RECORDS)
    data = path.read_bytes()
    whole = [HEADER, *RECORDS]
    last = 0
    for size in range(len(data), 60, -1):
        path.write_bytes(data[:size])
        try:
            found = list(read_journal(path))
        except PhituiError:
            break
        assert found == whole[: len(found)]
        last = len(found)
    assert last == 1


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_damaged_byte_never_gives_another_record(tmp_path_factory, place, flip):
    path = tmp_path_factory.mktemp("journal") / "out.journal"
    write(path, RECORDS)
    data = bytearray(path.read_bytes())
    data[place % len(data)] ^= flip
    path.write_bytes(data)
    try:
        found = list(read_journal(path))
    except PhituiError:
        return
    assert found == [HEADER, *RECORDS][: len(found)]


@pytest.mark.parametrize("data", [b"", b"{}", random.Random(1).randbytes(500), b"\xff" * 100])
def test_what_is_no_journal_is_said(tmp_path, data):
    path = tmp_path / "out.journal"
    path.write_bytes(data)
    with pytest.raises(PhituiError, match="is not the journal of a batch"):
        list(read_journal(path))


@pytest.mark.parametrize(
    "record",
    [
        [1, 128, [0] * ((1 << 22) + 1)],
        [3, 1 << 60, 100, 0, False, 1, 1],
        [3, -1, 100, 0, False, 1, 1],
        [3, 1, 100, 0, False, 1, 1, 1 << 60],
        [3, 1, 100, 0, False, 1 << 63, 1],
        [4, 1 << 62, 0, b"", [0, 0, 0, 0, 0]],
        [9, "of no kind"],
        "text",
    ],
    ids=lambda record: repr(record)[:30],
)
def test_a_record_that_is_whole_and_absurd_is_said(tmp_path, record):
    path = tmp_path / "out.journal"
    write(path, RECORDS)
    body = msgspec.msgpack.encode(record)
    with path.open("ab") as file:
        file.write(struct.pack("<II", len(body), zlib.crc32(body)) + body)
    with pytest.raises(PhituiError, match=r"out\.journal is damaged: .*Remove it and the output to start anew"):
        list(read_journal(path))


def test_a_set_of_lines_takes_no_more_memory_than_the_inputs_lines():
    with pytest.raises(ValueError, match="lines that the input has not"):
        LineSet(zlib.compress(bytes(50_000_000)), 1000)
    for packed in (b"none", zlib.compress(bytes(100))[:-3]):
        with pytest.raises(ValueError, match=r"Error|lines"):
            LineSet(packed, 10_000)


@given(st.integers(1, 3000).flatmap(lambda most: st.tuples(st.just(most), st.lists(st.integers(0, most), min_size=1))))
def test_a_set_of_an_inputs_lines_comes_back(made):
    most, lines = made
    one = LineSet()
    for line in lines:
        one.add(line)
    again = LineSet(one.pack(), most)
    assert {line for line in range(most + 9) if line in again} == set(lines)


def test_a_journal_takes_the_place_of_another_whole(tmp_path):
    path = tmp_path / "out.journal"
    write(path, RECORDS)
    Journal.write(path, [HEADER, Synced(5)]).close()
    assert list(read_journal(path)) == [HEADER, Synced(5)]
