"""What the model screen can do: look at the store, switch, pull, check, remove."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from phitui.config.layers import Config, logs_dir, models_dir, save_setting, shown_path, user_config_file
from phitui.core.errors import PhituiError, UsageError
from phitui.core.tasks import start_task
from phitui.engine.protocol.api import Event
from phitui.engine.protocol.interface import Engine
from phitui.models.install import is_name
from phitui.models.store import AUTO
from phitui.workbench.chat.chat import Chat
from phitui.workbench.models.inventory import ModelRow, inventory
from phitui.workbench.models.work import ModelWork
from phitui.workbench.switching import Switching


class ModelDesk:
    """The models and what is being done with them. All callbacks come on the event loop.

    `on_change`: rows, work or error are different. `pass_on`: the engine is gone for this reason. `say`: one line for
    the chat.
    """

    def __init__(
        self,
        client: Engine,
        config: Config,
        chat: Chat,
        on_change: Callable[[], None],
        pass_on: Callable[[Event], None],
        say: Callable[[str], None],
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self.store = models_dir(environ)
        self.rows: list[ModelRow] = []
        self.error = ""
        self.taken = ""  # who has the engine and its model in the place of the chat
        self._client = client
        self._environ = environ
        self._on_change = on_change
        self._say = say
        self.work = ModelWork(self.store, logs_dir(environ) / "prepare.log", self._on_work)
        self.switching = Switching(client, config, chat, pass_on, say, self._keep)
        self._reading: asyncio.Task[None] | None = None

    def refresh(self) -> None:
        """Read the store anew, in a thread; `on_change` follows."""
        if self._reading is not None:
            self._reading.cancel()
        self._reading = start_task(self._read())

    async def _read(self) -> None:
        try:
            loaded = self._client.folder if self._client.loaded is not None else None
            rows = await asyncio.to_thread(inventory, self.store, loaded)
        except PhituiError as error:
            self.error = str(error)
        else:
            self.rows, self.error = rows, ""
        self._on_change()

    def check_switch(self, row: ModelRow) -> None:
        """Raise UsageError with the reason where the engine cannot load `row`."""
        if row.folder is None:
            raise UsageError(f"{row.name} is not here yet", "p pulls it.")
        if row.manifest is None:
            raise UsageError(f"{row.name} is damaged: {row.error}")
        if self.taken:
            raise UsageError(f"{self.taken}: no other model can be loaded", "Wait for it, or cancel it (F3).")
        if row.loaded and self._has(row) and self._client.loaded is not None:
            raise UsageError(f"{row.name} is loaded already")
        if self.work.busy and self.work.name == row.name:
            raise UsageError(f"{row.name} is being worked on", "Wait for it, or stop it first.")

    def switch(self, row: ModelRow, starting: asyncio.Task[None] | None = None) -> None:
        """Have the engine load `row` in the place of what it has; `starting` is the console's own start, which ends
        where it has not yet. Raises UsageError as `check_switch` does."""
        self.check_switch(row)
        if row.folder is not None:
            self.switching.to(row.folder, starting)

    def pull(self, wanted: str, quantization: str = "", context: int = 0) -> None:
        """Fetch and convert a model. Raises UsageError where other work is under way."""
        self._check_quiet()
        self.work.pull(wanted, quantization, context)

    def _check_quiet(self) -> None:
        if self.taken:
            raise UsageError(f"{self.taken}: other work would spoil it", "Wait for it, or cancel it (F3).")

    def verify(self, row: ModelRow) -> None:
        """Check the files of `row`. Raises UsageError where it is not here or other work is under way."""
        self._check_quiet()
        if row.folder is None:
            raise UsageError(f"{row.name} is not here: there is nothing to check")
        self.work.verify(row.name, row.folder)

    def check_removal(self, row: ModelRow) -> None:
        """Raise UsageError where `row` cannot be removed: the engine has it, or it is not in the store."""
        if self.taken:
            raise UsageError(f"{self.taken}: nothing is removed meanwhile", "Wait for it, or cancel it (F3).")
        if self._has(row):
            raise UsageError(f"{row.name} is loaded", "Switch to another model first.")
        if row.folder is None and not row.part_bytes:
            raise UsageError(f"{row.name} is not here: there is nothing to remove")
        if row.folder is not None and row.folder.parent != self.store:
            raise UsageError(f"{row.name} is not in the store but in {row.folder}", "Remove it by hand.")

    def _has(self, row: ModelRow) -> bool:
        """Whether the engine has this model or is loading it by now."""
        holding = self._client.holding
        return bool(holding and row.folder and os.path.realpath(holding) == os.path.realpath(row.folder))

    def remove(self, row: ModelRow) -> None:
        """Take `row` out of the store. Raises UsageError as `check_removal` does, and while other work is under way."""
        self.check_removal(row)
        self.work.remove(row.name)

    async def keep_automatic(self) -> None:
        """Have later starts take Phi-3 Mini where it is in the store, as without a choice."""
        await self._save(AUTO, "Later starts take Phi-3 Mini where it is here")

    async def close(self) -> None:
        """End what is under way."""
        await asyncio.gather(self.work.close(), self.switching.close())
        if self._reading is not None:
            self._reading.cancel()

    def _on_work(self) -> None:
        if not self.work.busy:
            self.refresh()
        self._on_change()

    async def _keep(self, folder: Path) -> None:
        """The choice is for later starts, too, as that of a theme is."""
        in_store = folder.parent == self.store and is_name(folder.name)
        await self._save(folder.name if in_store else str(folder), "Later starts load it, too")

    async def _save(self, name: str, meaning: str) -> None:
        file = user_config_file(self._environ)
        try:
            await asyncio.to_thread(save_setting, file, "model.name", name)
        except PhituiError as error:
            self._say(f"The choice is not kept for later starts: {error}")
        else:
            self._say(f'{meaning} (model.name = "{name}" in {shown_path(file)}).')
