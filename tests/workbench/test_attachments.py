"""Files that go with a prompt."""

import os

import pytest

from phitui.core.errors import UsageError
from phitui.workbench.chat.attachments import Attachment, path_of, read_attachment, with_attachments


def test_a_text_file_is_read(tmp_path):
    path = tmp_path / "a.py"
    path.write_bytes(b"\xef\xbb\xbfprint('\xc3\xa9')\n")
    one = read_attachment(path, 1000)
    assert (one.text, one.size_bytes, one.name) == ("print('é')\n", 15, "a.py")


@pytest.mark.parametrize(
    ("data", "said"),
    [(b"ab\x00c", "binary: it has a zero byte"), (b"a\nb\xff", "not UTF-8 text (line 2"), (b" \n", "is empty"),
     (b"x" * 1001, "1,001 bytes, the limit is 1,000")],
)  # fmt: skip
def test_what_is_no_text_or_too_large_is_refused(tmp_path, data, said):
    path = tmp_path / "file"
    path.write_bytes(data)
    with pytest.raises(UsageError) as caught:
        read_attachment(path, 1000)
    assert said in str(caught.value)


def test_what_is_no_file_is_refused_and_waits_for_nobody(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, said in ((tmp_path, "folder"), (tmp_path / "pipe", "not a file"), (tmp_path / "none", "No such file")):
        with pytest.raises(UsageError, match=said):
            read_attachment(path, 1000)


def test_paths_as_people_write_them(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert path_of("~/a b") == tmp_path / "a b"
    assert path_of("'/x y/z'").as_posix() == "/x y/z"
    for typed in ("", "a\x00b"):
        with pytest.raises(UsageError):
            path_of(typed)


def test_what_is_sent_has_a_fence_that_nothing_in_the_file_closes(tmp_path):
    one = Attachment(tmp_path / "notes.md", "text\n````\ncode\n````\n", 10)
    two = Attachment(tmp_path / "plain", "p", 1)
    assert with_attachments("why?", [one, two]) == (
        "notes.md:\n`````md\ntext\n````\ncode\n````\n`````\n\nplain:\n```\np\n```\n\nwhy?"
    )
