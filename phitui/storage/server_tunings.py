"""engine-tunings.json: how many requests at once the tuner found best for each server, with all that it holds for."""

from __future__ import annotations

import msgspec

from phitui.storage.tuning_file import TuningFile

FILE_NAME = "engine-tunings.json"


class ServerTuningKey(msgspec.Struct, frozen=True):
    """What it is looked up by: the engine's name, its host with the port, and the lengths."""

    engine: str
    host: str
    prompt_tokens: int
    new_tokens: int


class ServerTuning(msgspec.Struct, frozen=True):
    """What was found, and under which conditions: the server's `model`, its `kind`, and how many prompts it takes at
    once by its own word. `made` is a time in UTC (ISO 8601); the others are as in `server_search.LoadAnswer`."""

    key: ServerTuningKey
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


_file = TuningFile(ServerTuning, lambda one: one.key)
read_load_tunings = _file.read
write_load_tuning = _file.add
remove_load_tuning = _file.remove


def stale_server_tuning(tuning: ServerTuning, model: str, kind: str, at_once: int | None) -> str:
    """Why a stored tuning does not hold for the server as it is now, or "" where it does."""
    if tuning.model != model:
        return f"the model was {tuning.model}, now it is {model}"
    if tuning.kind != kind:
        return f"the server was {tuning.kind}, now it is {kind}"
    if tuning.at_once != at_once:
        return f"the server took {tuning.at_once or '–'} prompts at once, now {at_once or '–'}"
    return ""
