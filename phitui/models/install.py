"""How a model comes into the store: whole or not at all.

Everything is made in `.partial-<name>-<pid>-<random>/` beside the models, on the same file system, and
renamed to its final name when it is complete and on disk. One lock file for each name keeps two processes
from making the same model; the kernel frees the lock when its holder dies, however it dies, so a partial
folder whose lock can be had belongs to nobody.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from phitui.core.errors import PhituiError, UsageError
from phitui.core.files import open_private

PARTIAL = ".partial-"
OLD = ".old-"
LOCK = ".lock-"
DOWNLOAD = ".download-"
_PARTIAL_NAME = re.compile(re.escape(PARTIAL) + r"([A-Za-z0-9][A-Za-z0-9._-]*)-[0-9]+-[0-9a-f]+")
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


class NoRoomError(PhituiError):
    """The disk is full, or would be."""


def download_folder(models_dir: Path, name: str) -> Path:
    """Where files on their way from the Hub are kept until the model `name` is made from them."""
    return models_dir / (DOWNLOAD + name)


def is_name(name: str) -> bool:
    """Whether a model of the store can have this name."""
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name) is not None


def check_name(name: str) -> None:
    """Raise UsageError for a name that no model of the store can have."""
    if not is_name(name):
        raise UsageError(
            f"{name[:100]!r} cannot name a model",
            "Use letters, digits, '-', '.' and '_', with a letter or a digit first.",
        )


@contextlib.contextmanager
def locked(models_dir: Path, name: str, on_wait: Callable[[], None] | None = None) -> Iterator[bool]:
    """Hold the lock of `name`; its file goes with the block.

    While another process has it, `on_wait` is called about five times a second. Without `on_wait` the block runs
    at once, and gets False where the lock is not to be had.
    """
    path = models_dir / (LOCK + name)
    while (lock := _try_lock(path)) is None and on_wait is not None:
        on_wait()
        time.sleep(0.2)
    try:
        yield lock is not None
    finally:
        if lock is not None:
            with contextlib.suppress(OSError):
                path.unlink()  # while it is held: whoever waits for it sees that its file is gone
            os.close(lock)


def _try_lock(path: Path) -> int | None:
    """A descriptor that holds the lock at `path`; None while another process has it."""
    while True:
        lock = open_private(path, os.O_RDWR)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(lock, path):
                return lock
        except BlockingIOError:
            os.close(lock)
            return None
        except OSError:
            os.close(lock)
            raise
        os.close(lock)  # of a file that its last holder has removed: it would keep nobody out


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file is still the one at `path`."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


@dataclass
class Workshop:
    """A place in the store where one model is made, under its lock.

    `folder` is new and empty; `final` is where the model goes; `waited` says that another process had the
    lock, and so may have made the model meanwhile.
    """

    folder: Path
    final: Path
    waited: bool
    needed_bytes: int = 0

    def reserve(self, needed_bytes: int) -> None:
        """Raise PhituiError unless the disk has room for `needed_bytes`, the most that the work takes."""
        self.needed_bytes = needed_bytes
        if shutil.disk_usage(self.folder).free < needed_bytes:
            raise _no_room(self.final.parent, needed_bytes)

    def place(self, folder: Path) -> Path:
        """Put a complete model, which lies in this workshop, into the store. Returns its final folder."""
        return place(folder, self.final)


@contextlib.contextmanager
def workshop(models_dir: Path, name: str, on_wait: Callable[[], None]) -> Iterator[Workshop]:
    """A place to make the model `name` in. What is left there at the block's end, whatever it is, is removed.

    `on_wait` is called about five times a second while another process makes the same model. Raises UsageError
    for a bad name, PhituiError when the store cannot be written or has no room.
    """
    check_name(name)
    waits = 0

    def waiting() -> None:
        nonlocal waits
        waits += 1
        on_wait()

    shop = Workshop(models_dir / f"{PARTIAL}{name}-{os.getpid()}-{secrets.token_hex(4)}", models_dir / name, False)
    with _as_clear_errors(shop):
        models_dir.mkdir(parents=True, exist_ok=True)
        with locked(models_dir, name, waiting):
            shop.waited = waits > 0
            clean(models_dir, name)
            recover(models_dir, name)
            try:
                shop.folder.mkdir(mode=0o700)
                yield shop
            finally:
                shutil.rmtree(shop.folder, ignore_errors=True)


@contextlib.contextmanager
def _as_clear_errors(shop: Workshop) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise _no_room(shop.final.parent, shop.needed_bytes) from error
        if error.errno == errno.EFBIG:
            raise PhituiError(
                f"cannot make the model {shop.final.name}: its files are larger than this process may write",
                "Raise the limit: ulimit -f unlimited",
            ) from error
        place = error.filename or shop.final
        raise PhituiError(
            f"cannot make the model {shop.final.name}: {place}: {error.strerror or error}",
            "Check who may read and write there, or set PHITUI_HOME to another folder.",
        ) from error


def _no_room(models_dir: Path, needed_bytes: int) -> NoRoomError:
    try:
        free = f"{shutil.disk_usage(models_dir).free / 1e6:.0f} MB is free"
    except OSError:
        free = "its free space is not known"
    return NoRoomError(
        f"no space left in {models_dir}: about {needed_bytes / 1e6:.0f} MB is needed, {free}",
        "Free some space, or set PHITUI_HOME to a folder on another disk.",
    )


def place(folder: Path, final: Path) -> Path:
    """Put a complete folder at its final name; what was there before goes. Both are on one file system."""
    for path in folder.iterdir():
        _sync(path)
    _sync(folder)
    if not os.path.lexists(final):
        folder.rename(final)
    else:
        old = final.with_name(f"{OLD}{final.name}-{secrets.token_hex(4)}")
        folder.rename(old)
        if not _exchange(old, final):
            # No atomic exchange here (some network file systems): `recover` mends a kill between these two.
            kept = final.with_name(f"{OLD}{final.name}-{secrets.token_hex(4)}")
            final.rename(kept)
            old.rename(final)
            old = kept
        _remove(old)
    _sync(final.parent)
    return final


def remove(models_dir: Path, name: str) -> None:
    """Take a model out of the store: its name goes in one step, its files and what was fetched for it after that.

    Raises PhituiError where another process is making it, or where it cannot be removed.
    """
    # The name of a partial folder: where this process is killed, the next `clean` removes the rest.
    doomed = models_dir / f"{PARTIAL}{name}-{os.getpid()}-{secrets.token_hex(4)}"
    try:
        with locked(models_dir, name) as mine:
            if not mine:
                raise PhituiError(f"another phitui is preparing {name}", "Wait for it, or stop it, then try again.")
            shutil.rmtree(download_folder(models_dir, name), ignore_errors=True)
            if os.path.lexists(models_dir / name):
                (models_dir / name).rename(doomed)
                _sync(models_dir)
                _remove(doomed)
    except OSError as error:
        raise PhituiError(
            f"cannot remove {models_dir / name}: {error.strerror or error}", "Check who may write there."
        ) from error
    if os.path.lexists(doomed):
        raise PhituiError(f"not all files of {name} could be removed", f"Remove the rest by hand: {doomed}")


def _remove(path: Path) -> None:
    if path.is_symlink():
        path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two names in one step (Linux's renameat2). False where the system or the file system cannot."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:
        return False
    paths = os.fsencode(one), os.fsencode(other)
    return bool(renameat2(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_EXCHANGE) == 0)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def recover(models_dir: Path, name: str) -> None:
    """Undo or finish a replacement that was killed half-way. The caller holds the lock of `name`."""
    for moved in moved_aside(models_dir, name):
        if os.path.lexists(models_dir / name):
            _remove(moved)
        else:
            moved.rename(models_dir / name)


def moved_aside(models_dir: Path, name: str) -> list[Path]:
    """What a replacement of `name` that was killed has left. Raises OSError."""
    pattern = re.compile(re.escape(f"{OLD}{name}-") + "[0-9a-f]{8}")
    return sorted(path for path in models_dir.iterdir() if pattern.fullmatch(path.name))


def clean(models_dir: Path, held: str) -> None:
    """Remove the partial folders that no process works on. The caller holds the lock of `held`."""
    for path in sorted(models_dir.iterdir()):
        made = _PARTIAL_NAME.fullmatch(path.name)
        if made is None:
            continue
        if made[1] == held:
            shutil.rmtree(path, ignore_errors=True)
            continue
        with locked(models_dir, made[1]) as mine:
            if mine:
                shutil.rmtree(path, ignore_errors=True)
