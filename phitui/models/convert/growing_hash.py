"""The hash of a file while it is written: a large model is not read once more for it."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

from phitui.core.files import open_regular
from phitui.models.manifest import FileEntry

_CHUNK_BYTES = 1 << 20
_POLL_S = 0.005


class GrowingHash:
    """Reads a file that only ever grows at its end, as fast as it does, in a thread of its own."""

    def __init__(self, path: Path) -> None:
        """Begin. The file need not be there yet."""
        self._path = path
        self._digest = hashlib.sha256()
        self._bytes = 0
        self._error: OSError | None = None
        self._complete = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hash", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._path.exists():
                if self._complete.wait(_POLL_S):
                    break
            self._follow()
        except OSError as error:
            self._error = error

    def _follow(self) -> None:
        with os.fdopen(open_regular(self._path), "rb", buffering=0) as file:
            while True:
                last = self._complete.is_set()  # asked before the read: what is written later is not missed
                while chunk := file.read(_CHUNK_BYTES):
                    self._digest.update(chunk)
                    self._bytes += len(chunk)
                if last:
                    return
                self._complete.wait(_POLL_S)

    def stop(self) -> None:
        """End the thread: the file is complete, or its hash is not needed. May be called twice."""
        self._complete.set()
        self._thread.join()

    def entry(self) -> FileEntry:
        """Size and hash of the complete file. Raises OSError."""
        self.stop()
        if self._error is not None:
            raise self._error
        return FileEntry(self._bytes, self._digest.hexdigest())
