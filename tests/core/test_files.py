"""Files are there whole or not at all, and never in the place of another one."""

import errno
import os
import stat

import pytest

from phitui.core.files import create_file


@pytest.fixture(params=["hard links", "no hard links"])
def volume(request, tmp_path, monkeypatch):
    """A folder; without hard links as on vfat and exFAT, which answer EPERM."""

    def refuse(*_args, **_options):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    if request.param == "no hard links":
        monkeypatch.setattr(os, "link", refuse)
    return tmp_path


def test_a_new_file_has_all_of_it_and_nothing_is_left_beside_it(volume):
    create_file(volume / "out.md", b"text")
    assert (volume / "out.md").read_bytes() == b"text"
    assert stat.S_IMODE((volume / "out.md").stat().st_mode) == 0o600
    assert os.listdir(volume) == ["out.md"]


def test_what_is_there_stays(volume):
    (volume / "out.md").write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        create_file(volume / "out.md", b"text")
    assert (volume / "out.md").read_bytes() == b"mine"
    assert os.listdir(volume) == ["out.md"]


def test_where_nothing_can_be_written_the_error_is_the_disks(volume):
    with pytest.raises(FileNotFoundError):
        create_file(volume / "no" / "out.md", b"text")
