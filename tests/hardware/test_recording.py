"""Recordings: what goes in comes out, and what is damaged is named and left out."""

import os
import stat

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phitui.core.errors import UsageError
from phitui.hardware.recording import Recorder, Recording, decode
from phitui.hardware.snapshot import Device, Host, Snapshot


def snapshot(time, util=50.0):
    return Snapshot(time, Host(cpu_pct=1.0), [Device("gpu", 0, "card", "GPU-a", util_pct=util)], {}, "550", "12.4")


def record(path, *times):
    recorder = Recorder(path)
    for time in times:
        recorder.write(snapshot(time))
    recorder.close()
    assert recorder.error == ""


def test_what_goes_in_comes_out(tmp_path):
    record(tmp_path / "r.jsonl", 1.0, 2.0, 3.5)
    recording = Recording(tmp_path / "r.jsonl")
    assert [recording.snapshot(place) for place in range(len(recording))] == [snapshot(t) for t in (1.0, 2.0, 3.5)]
    assert recording.told() == ""
    assert stat.S_IMODE((tmp_path / "r.jsonl").stat().st_mode) == 0o600


def test_a_second_recording_goes_on_behind_the_first(tmp_path):
    path = tmp_path / "r.jsonl"
    record(path, 1.0)
    with path.open("ab") as file:
        file.write(b'{"time": 2.0, "ho')  # the writer was killed
    record(path, 3.0)
    recording = Recording(path)
    assert list(recording.times) == [1.0, 3.0]
    assert recording.bad_count == 1
    assert recording.told().startswith("1 line is no snapshot and left out (first: line 2: ")


def test_a_reading_that_comes_too_late_is_in_no_other_file(tmp_path):
    """The sampler's thread may be left behind in a driver; by then the descriptor can be another file's."""
    recorder = Recorder(tmp_path / "r.jsonl")
    recorder.close()
    with (tmp_path / "other").open("ab") as other:
        assert other.fileno() == recorder._file
        recorder.write(snapshot(1.0))
        recorder.close()
    assert (tmp_path / "other").read_bytes() == b""
    assert recorder.error == ""


def test_a_last_line_that_is_cut_off_is_no_error(tmp_path):
    path = tmp_path / "r.jsonl"
    record(path, 1.0, 2.0)
    path.write_bytes(path.read_bytes()[:-20])
    recording = Recording(path)
    assert list(recording.times) == [1.0]
    assert recording.bad_count == 0
    assert recording.told() == "the last line is cut off"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"not json", "malformed"),
        (b"[]", "Expected `object`"),
        (b'{"time": 2.5, "host": {}, "devices": "none"}', "Expected `array`"),
        (b'{"time": 1e300, "host": {}, "devices": []}', "its time is out of range"),
        (b'{"time": 0.5, "host": {}, "devices": []}', "before the line before"),
        (b'{"time": 2.5, "host": {"load1": 1e300}, "devices": []}', "load1 is out of range"),
        (b'{"time": 2.5, "host": {}, "devices": [{"kind":"gpu","index":0,"name":"x","energy_j":1e19}]}', "energy_j"),
        (
            b'{"time": 2.5, "host": {}, "devices": [%s]}' % b",".join([b'{"kind":"gpu","index":0,"name":"x"}'] * 65),
            "64",
        ),
        (b'{"time": 2.5, "host": {}, "devices": [], "x": ' + b"[" * 5000 + b"]" * 5000 + b"}", ""),
        (b'{"time": 2.5, "host": {}, "devices": [{"kind":"gpu","index":0,"name":"\xff"}]}', ""),
        (b"x" * (5 << 20), "longer than 4 MiB"),
    ],
    ids=["text", "list", "type", "time", "backwards", "huge", "devices", "many", "nested", "utf-8", "long"],
)
def test_a_bad_line_is_named_and_left_out(tmp_path, line, why):
    path = tmp_path / "r.jsonl"
    good = [msgspec.json.encode(snapshot(t)) for t in (1.0, 3.0)]
    path.write_bytes(good[0] + b"\n" + line + b"\n" + good[1] + b"\n")
    recording = Recording(path)
    assert list(recording.times) == [1.0, 3.0]
    assert [bad.number for bad in recording.bad] == [2]
    assert why in recording.bad[0].why
    assert recording.snapshot(1) == snapshot(3.0)


@pytest.mark.parametrize(("content", "why"), [(b"", "the file is empty"), (b"a\nb\n", "2 lines are no snapshot")])
def test_a_file_without_snapshots_is_refused(tmp_path, content, why):
    path = tmp_path / "r.jsonl"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=why):
        Recording(path)
    with pytest.raises(UsageError, match="no such file"):
        Recording(tmp_path / "other")
    with pytest.raises(UsageError, match="Is a directory"):
        Recording(tmp_path)


def test_nothing_else_is_written_behind(tmp_path):
    notes = tmp_path / "notes.txt"
    notes.write_text("dear diary\n")
    with pytest.raises(UsageError, match="is no recording"):
        Recorder(notes)
    assert notes.read_text() == "dear diary\n"
    os.mkfifo(tmp_path / "pipe")
    for path, why in ((tmp_path, "directory"), (tmp_path / "pipe", "not a file"), (tmp_path / "no" / "x", "No such")):
        with pytest.raises(UsageError, match=why):
            Recorder(path)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_ends_the_recording_and_not_the_monitor(tmp_path):
    recorder = Recorder(tmp_path / "r.jsonl")
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, recorder._file)
    recorder.write(snapshot(1.0))
    assert recorder.error == "recording stopped: No space left on device"
    recorder.write(snapshot(2.0))
    os.close(full)


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_a_snapshot_or_a_reason(line):
    assert isinstance(decode(line), (Snapshot, str))
