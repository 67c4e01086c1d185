"""Takes the engine from one model to another, and back where the other cannot be loaded."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from phitui.config.layers import Config
from phitui.core.errors import ExitCode, PhituiError
from phitui.core.ipc.messages import Failure
from phitui.core.tasks import start_task
from phitui.engine.protocol.api import Died, Event, Loaded
from phitui.engine.protocol.interface import Engine
from phitui.workbench.chat.chat import Chat
from phitui.workbench.start import load_folder


class Switching:
    """One change at a time: a wish that comes while another model loads takes its place.

    `pass_on` gets the failures after which there is no engine, `say` what else a person should know, and `keep` is
    awaited with the folder of a model that was switched to and has loaded.
    """

    def __init__(
        self,
        client: Engine,
        config: Config,
        chat: Chat,
        pass_on: Callable[[Event], None],
        say: Callable[[str], None],
        keep: Callable[[Path], Awaitable[None]],
    ) -> None:
        self._client = client
        self.config = config
        self._chat = chat
        self._pass_on = pass_on
        self._say = say
        self._keep = keep
        self._wanted: Path | None = None
        self._outcome: asyncio.Future[Failure | None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._answers = self._loaded_folder()  # the model that has answered last, to go back to

    def to(self, folder: Path, starting: asyncio.Task[None] | None = None) -> None:
        """Switch to the model in `folder`. `starting` is the console's own start, which ends where it has not yet."""
        self._wanted = folder
        if starting is not None:
            starting.cancel()
        self._settle(None)
        if self._task is None or self._task.done():
            self._task = start_task(self._run(starting))

    @property
    def busy(self) -> bool:
        """Whether a change is under way."""
        return self._task is not None and not self._task.done()

    def take(self, event: Event) -> bool:
        """Look at an event of the engine. True for the failure of a model that is being switched to: nobody else's
        affair, because the model before comes back."""
        if isinstance(event, Loaded):
            self._answers = self._loaded_folder()
            self._settle(None)
            return False
        if isinstance(event, Died) and not event.restarting:
            return self._settle(Failure(f"its engine died ({event.reason})", "", ExitCode.UNAVAILABLE))
        return isinstance(event, Failure) and self._settle(event)

    async def close(self) -> None:
        """Leave it where it is."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _loaded_folder(self) -> Path | None:
        return Path(self._client.folder) if self._client.loaded is not None and self._client.folder else None

    def _settle(self, failure: Failure | None) -> bool:
        if self._outcome is None or self._outcome.done():
            return False
        self._outcome.set_result(failure)
        return True

    async def _run(self, starting: asyncio.Task[None] | None) -> None:
        if starting is not None:
            await asyncio.gather(starting, return_exceptions=True)
        while self._wanted is not None:
            folder, self._wanted = self._wanted, None
            await self._change(folder)

    async def _change(self, folder: Path) -> None:
        await self._chat.release()
        before = self._answers
        failure = await self._load(folder)
        if self._wanted is not None:  # another wish by now
            return
        if failure is None:
            await self._keep(folder)
        elif before is None or before == folder:
            self._pass_on(failure)
        else:
            self._say(f"{folder.name} cannot be used: {str(failure.error()).rstrip('.')}. Going back to {before.name}.")
            failure = await self._load(before)
            if failure is not None and self._wanted is None:
                self._pass_on(failure)

    async def _load(self, folder: Path) -> Failure | None:
        """Load a model and wait for how it ends; None where it has loaded or another wish has come."""
        self._outcome = asyncio.get_running_loop().create_future()
        try:
            await load_folder(self._client, self.config, folder)
            return await self._outcome
        except PhituiError as error:
            return Failure.of(error)
        finally:
            self._outcome = None
