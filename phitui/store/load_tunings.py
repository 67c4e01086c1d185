"""engine-tunings.json: how many requests at once the tuner found best for each server, with all that it holds for."""

from __future__ import annotations

from pathlib import Path

import msgspec

from phitui.errors import PhituiError
from phitui.files import replace_file

FILE_NAME = "engine-tunings.json"


class LoadKey(msgspec.Struct, frozen=True):
    """What it is looked up by: the engine's name, its host with the port, and the lengths."""

    engine: str
    host: str
    prompt_tokens: int
    new_tokens: int


class LoadTuning(msgspec.Struct, frozen=True):
    """What was found, and under which conditions: the server's `model`, its `kind`, and how many prompts it takes at
    once by its own word. `made` is a time in UTC (ISO 8601); the others are as in `tuner.concurrency.LoadAnswer`."""

    key: LoadKey
    model: str
    kind: str
    at_once: int | None
    made: str
    c_max: int
    c_best: int
    c_slo: int | None
    tokens_per_s: float
    spread: float | None
    measurements: int
    why: str

    @property
    def prompt_tokens(self) -> int:
        return self.key.prompt_tokens

    @property
    def new_tokens(self) -> int:
        return self.key.new_tokens


class _File(msgspec.Struct):
    tunings: list[LoadTuning] = []


def read_load_tunings(path: Path) -> tuple[list[LoadTuning], str]:
    """All that is stored, newest first, and "" or what is wrong with the file: then it counts as empty."""
    try:
        stored = msgspec.json.decode(path.read_bytes(), type=_File).tunings
    except FileNotFoundError:
        return [], ""
    except OSError as error:
        return [], f"{path} cannot be read: {error.strerror}"
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return [], f"{path} is damaged and ignored: {str(error)[:200]}"
    return sorted(stored, key=lambda one: one.made, reverse=True), ""


def write_load_tuning(path: Path, tuning: LoadTuning) -> None:
    """Store it, in place of one with the same key. Raises PhituiError where it cannot be written."""
    others = [one for one in read_load_tunings(path)[0] if one.key != tuning.key]
    data = msgspec.json.format(msgspec.json.encode(_File([tuning, *others])), indent=2) + b"\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, data)
    except OSError as error:
        raise PhituiError(f"{path}: cannot be written: {error.strerror}", "The tunings are as they were") from error


def stale_load(tuning: LoadTuning, model: str, kind: str, at_once: int | None) -> str:
    """Why a stored tuning does not hold for the server as it is now, or "" where it does."""
    if tuning.model != model:
        return f"the model was {tuning.model}, now it is {model}"
    if tuning.kind != kind:
        return f"the server was {tuning.kind}, now it is {kind}"
    if tuning.at_once != at_once:
        return f"the server took {tuning.at_once or '–'} prompts at once, now {at_once or '–'}"
    return ""
