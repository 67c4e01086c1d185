"""The models that are on this machine: PHITUI_HOME/models/<name>/."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from phitui.core.errors import PhituiError, UsageError
from phitui.models.catalog import CATALOG, DEMO, PHI3, CatalogEntry, lookup, meant
from phitui.models.install import is_name, locked, moved_aside, recover
from phitui.models.manifest import MANIFEST_NAME, Manifest, read_manifest

AUTO = "auto"


@dataclass(frozen=True)
class StoredModel:
    """One folder of the store. `manifest` is None where `error` says what is wrong with it."""

    name: str
    folder: Path
    manifest: Manifest | None
    error: str = ""


@dataclass(frozen=True)
class Resolved:
    """What a user's model name stands for.

    `folder` is None where the model is known (`entry`) and has to be fetched first.
    """

    name: str
    folder: Path | None
    entry: CatalogEntry | None


def list_models(models_dir: Path) -> list[StoredModel]:
    """Every model of the store, by name. Raises PhituiError where the store cannot be read."""
    try:
        folders = sorted(path for path in models_dir.iterdir() if path.is_dir() and path.name[0] != ".")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise _unreadable(models_dir, error) from error
    return [_describe(folder) for folder in folders]


def _describe(folder: Path) -> StoredModel:
    try:
        return StoredModel(folder.name, folder, read_manifest(folder))
    except PhituiError as error:
        return StoredModel(folder.name, folder, None, str(error))


def find(models_dir: Path, name: str) -> Path | None:
    """The folder of a model of the store, by its name or a catalog alias. None where it is not there.

    Its manifest is not read here. Raises PhituiError where the store cannot be read.
    """
    entry = lookup(name)
    for candidate in dict.fromkeys((name, entry.name if entry else name)):
        folder = models_dir / candidate
        if is_name(candidate) and (_is_folder(folder, models_dir) or _recovered(models_dir, candidate)):
            return folder
    return None


def _is_folder(folder: Path, models_dir: Path) -> bool:
    try:
        return stat.S_ISDIR(folder.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise _unreadable(models_dir, error) from error


def _recovered(models_dir: Path, name: str) -> bool:
    """Bring back a model whose replacement was killed between two renames, if there is one."""
    try:
        if not moved_aside(models_dir, name):
            return False
        with locked(models_dir, name) as mine:
            if mine:
                recover(models_dir, name)
        return (models_dir / name).is_dir()
    except OSError:
        return False


def _unreadable(models_dir: Path, error: OSError) -> PhituiError:
    return PhituiError(
        f"cannot read the model store {models_dir}: {error.strerror or error}",
        "Check who may read it, or set PHITUI_HOME to another folder.",
    )


def resolve(models_dir: Path, wanted: str) -> Resolved:
    """What `wanted` stands for: "auto", a name of the store or the catalog, a Hub name, or a model folder's
    path.

    "auto" is the first Phi-3 Mini that is in the store, else the demo model. Raises UsageError for what is
    none of these, and PhituiError where the store cannot be read.
    """
    if wanted == AUTO:
        return _automatic(models_dir)
    folder = find(models_dir, wanted)
    entry = lookup(wanted)
    if folder is not None:
        return Resolved(folder.name, folder, entry)
    # os.path and not Path: its methods raise for a user whom nobody knows, and for a name that is too long.
    path = Path(os.path.expanduser(wanted))  # noqa: PTH111
    if os.path.isfile(path / MANIFEST_NAME):  # noqa: PTH113
        return Resolved(path.resolve().name, path.resolve(), None)
    if entry is not None:
        return Resolved(entry.name, None, entry)
    raise _unknown(models_dir, wanted, path)


def _automatic(models_dir: Path) -> Resolved:
    for entry in PHI3:
        folder = find(models_dir, entry.name)
        if folder is not None:
            return Resolved(entry.name, folder, entry)
    return Resolved(DEMO.name, find(models_dir, DEMO.name), DEMO)


def _unknown(models_dir: Path, wanted: str, path: Path) -> UsageError:
    if os.sep in wanted and os.path.exists(path):  # noqa: PTH110
        return UsageError(
            f"{wanted} is not a model that phitui has converted: it has no {MANIFEST_NAME}",
            f"Convert it first: phitui model convert {wanted}",
        )
    names = [entry.name for entry in CATALOG]
    names += [model.name for model in list_models(models_dir) if model.name not in names]
    return UsageError(f"no model is called {wanted[:200]!r}", meant(wanted, names) or f"Known are: {', '.join(names)}.")
