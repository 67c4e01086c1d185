"""What was measured is kept; what cannot be kept or read is no failure."""

import pytest

from phitui.storage.profiles import read_profile, write_profile


def test_a_profile_comes_back_and_others_stay(tmp_path):
    path = tmp_path / "home" / "profiles.json"
    write_profile(path, "a", {"threads": 1})
    write_profile(path, "b", 2)
    assert read_profile(path, "a") == {"threads": 1}
    assert read_profile(path, "b") == 2
    assert read_profile(path, "c") is None


@pytest.mark.parametrize("content", [b"\xff{not json", b"[1, 2]", b"", b"[" * 100_000])
def test_a_damaged_file_counts_as_empty_and_is_put_aside(tmp_path, content):
    path = tmp_path / "profiles.json"
    path.write_bytes(content)
    assert read_profile(path, "a") is None
    assert path.read_bytes() == content
    write_profile(path, "a", 1)
    assert read_profile(path, "a") == 1
    assert path.with_name("profiles.json.damaged").read_bytes() == content


def test_a_place_that_cannot_be_written_is_no_error(tmp_path):
    (tmp_path / "file").write_text("")
    write_profile(tmp_path / "file" / "profiles.json", "a", 1)
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]
