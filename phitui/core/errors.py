"""Errors that a person is told about: what went wrong, where, and what to do."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of the command, part of the public contract."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    UNAVAILABLE = 3
    INTERRUPTED = 130


class PhituiError(Exception):
    """A failure with a remedy. `str()` of it is the one line a person sees.

    `message` says what went wrong and where, `fix` what to do about it (may be empty).
    """

    exit_code = ExitCode.FAILED

    def __init__(self, message: str, fix: str = "") -> None:
        super().__init__(message, fix)
        self.message = message
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.message.rstrip('.')}. {self.fix}" if self.fix else self.message


class UsageError(PhituiError):
    """Wrong usage or bad input: an option, a configuration file, a prompt."""

    exit_code = ExitCode.USAGE


class UnavailableError(PhituiError):
    """The engine or the hardware that was asked for is not to be had."""

    exit_code = ExitCode.UNAVAILABLE
