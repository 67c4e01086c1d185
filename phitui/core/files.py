"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path


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
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        try:
            made.replace(path)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
