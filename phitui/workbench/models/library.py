"""What the model screen can do: look at the store, switch, pull, check, remove."""

from __future__ import annotations

import asyncio
import dataclasses
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from msgspec.structs import replace

from phitui.config.layers import logs_dir, models_dir, save_setting, shown_path, user_config_file
from phitui.core.errors import PhituiError, UsageError
from phitui.core.tasks import start_task
from phitui.core.text import one_line
from phitui.engine.protocol.interface import Engine
from phitui.models.install import is_name
from phitui.models.store import AUTO
from phitui.workbench.current import CurrentConfig
from phitui.workbench.lease import Lease, Leases, Use
from phitui.workbench.models.inventory import ModelRow, inventory
from phitui.workbench.models.work import ModelWork
from phitui.workbench.switching import LocalModel, Switching


class ModelLibrary:
    """The models and what is being done with them. All callbacks come on the event loop.

    `on_change`: rows, work or error are different. `say`: one line for a person.
    """

    def __init__(
        self,
        client: Engine,
        config: CurrentConfig,
        leases: Leases,
        switching: Switching,
        on_change: Callable[[], None],
        say: Callable[[str], None],
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self.store = models_dir(environ)
        self.rows: list[ModelRow] = []
        self.error = ""
        self._client, self._config, self._leases, self._switching = client, config, leases, switching
        self._lease: Lease | None = None  # while work is under way
        self._environ = environ
        self._on_change = on_change
        self._say = say
        self.work = ModelWork(self.store, logs_dir(environ) / "prepare.log", self._on_work)
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
            runs = self._runs()
            self.rows = [dataclasses.replace(row, runs=runs) if row.loaded else row for row in rows]
            self.error = ""
        self._on_change()

    def _runs(self) -> str:
        loaded = self._client.loaded
        return f"on the {'GPU' if loaded.device == 'cuda' else 'CPU'}: {loaded.why}" if loaded is not None else ""

    def check_switch(self, row: ModelRow) -> None:
        """Raise UsageError with the reason where the engine cannot load `row`."""
        if row.folder is None:
            raise UsageError(f"{row.name} is not downloaded yet", "Enter on it downloads it (F2).")
        if row.manifest is None:
            raise UsageError(f"{row.name} is damaged: {row.error}")
        self._leases.check(Use.SWITCH)
        if row.loaded and self._has(row) and self._client.loaded is not None:
            raise UsageError(f"{row.name} is loaded already")
        if self.work.busy and self.work.name == row.name:
            raise UsageError(f"{row.name} is being worked on", "Wait for it, or stop it first.")

    def switch(self, row: ModelRow) -> None:
        """Have the engine load `row` in the place of what it has, and later starts, too. Raises UsageError as
        `check_switch` does."""
        self.check_switch(row)
        if row.folder is not None:
            self._switching.to(LocalModel(row.folder, row.title or row.name, keep=True))

    def pull(self, wanted: str, quantization: str = "", context: int = 0) -> None:
        """Fetch and convert a model. Raises UsageError where other work is under way."""
        self._leases.check(Use.MODEL_WORK)
        self.work.pull(wanted, quantization, context)

    def verify(self, row: ModelRow) -> None:
        """Check the files of `row`. Raises UsageError where it is not here or other work is under way."""
        self._leases.check(Use.MODEL_WORK)
        if row.folder is None:
            raise UsageError(f"{row.name} is not downloaded: there is nothing to check")
        self.work.verify(row.name, row.folder)

    def check_removal(self, row: ModelRow) -> None:
        """Raise UsageError where `row` cannot be removed: the engine has it, or it is not in the store."""
        self._leases.check(Use.MODEL_WORK)
        if self._has(row):
            raise UsageError(f"{row.name} is loaded", "Switch to another model first.")
        if row.folder is None and not row.part_bytes:
            raise UsageError(f"{row.name} is not downloaded: there is nothing to remove")
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
        await self._save(AUTO, "Later starts take Phi-3 Mini where it is installed")

    async def close(self) -> None:
        """End what is under way."""
        await self.work.close()
        if self._reading is not None:
            self._reading.cancel()

    def _on_work(self) -> None:
        if self.work.busy and self._lease is None:
            self._lease = self._leases.claim(Use.MODEL_WORK, f"{one_line(self.work.name, 60)} is being worked on")
        elif not self.work.busy:
            if self._lease is not None:
                self._lease.release()
                self._lease = None
            self.refresh()
        self._on_change()

    async def keep(self, folder: Path) -> None:
        """Have later starts load the model in `folder`, too, as they take the theme that was chosen."""
        in_store = folder.parent == self.store and is_name(folder.name)
        await self._save(folder.name if in_store else str(folder), "Later starts load it, too")

    async def _save(self, name: str, meaning: str) -> None:
        file = user_config_file(self._environ)
        try:
            await asyncio.to_thread(save_setting, file, "model.name", name)
        except PhituiError as error:
            self._say(f"The choice is not kept for later starts: {error}")
        else:
            self._config.now = replace(self._config.now, model=replace(self._config.now.model, name=name))
            self._say(f'{meaning} (model.name = "{name}" in {shown_path(file)}).')
