"""Messages that every kind of child process may send."""

from __future__ import annotations

import msgspec

from phitui.core.errors import PhituiError, UnavailableError, UsageError


class Progress(msgspec.Struct, tag=True, frozen=True):
    """How far a long piece of work is.

    `stage` names the work ("fetch", "convert", "load", …); `done` and `total` are in `unit` (bytes, tensors, …);
    `total` is 0 where it is not known; `text` is a line for a person.
    """

    stage: str
    text: str
    done: int = 0
    total: int = 0
    unit: str = ""


class Failure(msgspec.Struct, tag=True, frozen=True):
    """Why the work could not be done: a PhituiError on its way between processes."""

    message: str
    fix: str = ""
    exit_code: int = 1

    @classmethod
    def of(cls, error: PhituiError) -> Failure:
        return cls(error.message, error.fix, int(error.exit_code))

    def error(self) -> PhituiError:
        """The same as an exception of the fitting kind."""
        kind = {2: UsageError, 3: UnavailableError}.get(self.exit_code, PhituiError)
        return kind(self.message, self.fix)
