"""System prompts under names: one private file, whole or not at all."""

import os
import stat

import pytest

from phitui.core.errors import PhituiError, UsageError
from phitui.storage.presets import MOST, Preset, Presets


@pytest.fixture
def presets(tmp_path):
    return Presets(tmp_path / "home" / "presets.json")


def test_they_are_kept_replaced_and_deleted(presets):
    assert presets.all() == []
    assert not presets.keep(" Terse   one ", "Be brief.\nVery.")
    assert not presets.keep("a pirate", "Arr.")
    assert presets.keep("Terse one", "Briefer.")
    assert Presets(presets.path).all() == [Preset("a pirate", "Arr."), Preset("Terse one", "Briefer.")]
    assert stat.S_IMODE(presets.path.stat().st_mode) == 0o600
    presets.delete("a pirate")
    presets.delete("not there")
    assert [preset.name for preset in presets.all()] == ["Terse one"]
    assert os.listdir(presets.path.parent) == ["presets.json"]


@pytest.mark.parametrize(
    ("name", "text"), [("", "x"), ("x" * 61, "x"), ("x", " \n"), ("x", "x" * 100_001), ("x", "\ud800")]
)
def test_what_cannot_be_kept_changes_nothing(presets, name, text):
    presets.keep("one", "1")
    with pytest.raises(UsageError):
        presets.keep(name, text)
    assert presets.all() == [Preset("one", "1")]


@pytest.mark.parametrize("data", [b"{", b'{"presets": [{"name": "x"}]}', b'{"presets": [], "more": 1}', b"\xff"])
def test_a_file_that_is_none_of_ours_is_told_and_left(presets, data):
    presets.path.parent.mkdir()
    presets.path.write_bytes(data)
    with pytest.raises(PhituiError, match=r"presets.json: .*Repair it or move it away"):
        presets.keep("x", "y")
    assert presets.path.read_bytes() == data


def test_there_is_a_bound(presets):
    presets._write([Preset(str(number), "x") for number in range(MOST)])
    assert presets.keep("7", "y")
    with pytest.raises(UsageError, match="1000 presets already"):
        presets.keep("one more", "x")
