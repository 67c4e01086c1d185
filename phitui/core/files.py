"""Files that are read whole, that are there whole or not at all, or that are for this user's eyes alone."""

from __future__ import annotations

import errno
import itertools
import os
import stat
from pathlib import Path
from typing import BinaryIO


def read_small(path: Path, most_bytes: int) -> bytes:
    """All of a file of at most `most_bytes`. Never waits, and takes no more memory than that. Raises OSError, also for
    what is larger, or is no regular file."""
    with os.fdopen(open_regular(path), "rb") as file:
        return read_opened(file, path, most_bytes)


def read_opened(file: BinaryIO, path: Path, most_bytes: int) -> bytes:
    """As `read_small`, of a file that `open_regular` has opened: for whoever looks at it before."""
    size = os.fstat(file.fileno()).st_size
    data = file.read(most_bytes + 1) if size <= most_bytes else b""
    if max(size, len(data)) > most_bytes:
        has = f"{size:,}" if size > most_bytes else f"over {most_bytes:,}"  # one that grows, or of the kernel's
        raise OSError(errno.EFBIG, f"it has {has} bytes, the limit is {most_bytes:,}", str(path))
    return data


def open_regular(path: Path) -> int:
    """A descriptor to read the file at `path` with. Never waits: a pipe, device or folder in its place is refused.
    Raises OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        _check_regular(handle, path)
    except BaseException:
        os.close(handle)
        raise
    return handle


def _check_regular(handle: int, path: Path) -> None:
    mode = os.fstat(handle).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is not a file", str(path))


def open_private(path: Path, flags: int) -> int:
    """A descriptor of the file at `path`, made where it is missing; nobody but its owner can read or write it, whatever
    the umask is and whatever it was before. `flags` are os.open's.

    Never waits: a pipe or device in its place is refused. Raises OSError.
    """
    handle = os.open(path, flags | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
    try:
        _check_regular(handle, path)
        about = os.fstat(handle)
        if about.st_mode & 0o077 and about.st_uid == os.geteuid():
            os.fchmod(handle, 0o600)
    except BaseException:
        os.close(handle)
        raise
    return handle


def create_private(path: Path) -> int:
    """A descriptor to write the new file at `path` with, for its owner alone. What was there by this name, such as a
    link to another file, only loses the name: nothing is written through it. Raises OSError."""
    path.unlink(missing_ok=True)
    return open_private(path, os.O_WRONLY | os.O_EXCL | os.O_NOFOLLOW)


def disk_of(path: Path) -> Path:
    """Where the disk that `path` is on is mounted, for a message."""
    path = Path(os.path.realpath(path))
    return next(folder for folder in (path, *path.parents) if folder.is_mount())


def replace_file(path: Path, data: bytes) -> None:
    """Write `data` in the place of what is there, if anything is: a reader sees the old or the new, also after the
    power has failed. A link stays one, and the mode what it was; a new file is 0600.

    Raises OSError, with the old one as it was.
    """
    import tempfile  # 6 ms that only this needs

    path = Path(os.path.realpath(path))
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def put_aside(path: Path) -> Path:
    """Give a damaged file a name under which it is kept, which is returned. Raises OSError."""
    names = (path.with_name(f"{path.name}.damaged{number or ''}") for number in itertools.count())
    aside = next(name for name in names if not os.path.lexists(name))
    path.rename(aside)
    return aside


def create_file(path: Path, data: bytes) -> None:
    """Write `data` to a new file (0600). Raises FileExistsError where something of this name is there, else OSError."""
    import tempfile

    handle, name = tempfile.mkstemp(prefix=f".{path.name[:40]}-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        _take_name(Path(name), path)
    finally:
        Path(name).unlink(missing_ok=True)


def _take_name(made: Path, path: Path) -> None:
    """Give a file its name, never in the place of another one as a rename would."""
    try:
        os.link(made, path)
    except FileExistsError:
        raise
    except OSError:  # vfat, exFAT and others know no hard links: the name is taken first, then what is in it changes
        os.close(open_private(path, os.O_WRONLY | os.O_EXCL))
        try:
            made.replace(path)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
