"""Reads the command line, loads the configuration, and runs one command, or the console without one."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

from phitui.cli.output import OutputError, abandon_stdout, narrate
from phitui.cli.parser import module_of, parse
from phitui.config.layers import Config, load_config, logs_dir
from phitui.config.remotes import LOCAL, check_url
from phitui.core.errors import ExitCode, PhituiError, UsageError
from phitui.core.leaving import heeding
from phitui.storage.defects import describe_defect


def run(arguments: list[str]) -> int:
    """Run the command line; returns the exit code. Nothing escapes as a traceback but a defect of phitui's own."""
    os.umask(os.umask(0o022) | 0o022)  # no other user writes to what is made here, models above all
    try:
        with heeding(_interrupt, int(ExitCode.INTERRUPTED)):
            return _outcome(arguments)
    except KeyboardInterrupt:
        return int(ExitCode.INTERRUPTED)


def _interrupt(number: int) -> NoReturn:
    raise KeyboardInterrupt(number)


def _outcome(arguments: list[str]) -> int:
    """The exit code; what went wrong is told. Raises KeyboardInterrupt."""
    try:
        return _dispatch(parse(arguments))
    except PhituiError as error:
        narrate(f"phitui: {error}")
        return int(error.exit_code)
    except OutputError as error:
        abandon_stdout()
        narrate(f"phitui: cannot write to standard output: {error}")
        return int(ExitCode.FAILED)
    except BrokenPipeError:  # whoever read our output has gone, and knows it
        abandon_stdout()
        return int(ExitCode.FAILED)
    except Exception as error:  # noqa: BLE001 - a defect of ours: the line says so, the log has the rest
        narrate(f"phitui: {describe_defect(error, _logs())}")
        return int(ExitCode.FAILED)


def _logs() -> Path | None:
    try:
        return logs_dir()
    except PhituiError:  # nowhere to write
        return None


def _dispatch(args: argparse.Namespace) -> int:
    if args.command in ("doctor", "completion"):  # a bad configuration is one of the doctor's lines; none is needed
        return int(module_of(args.command).run(args))
    config = configuration(args)
    if args.command is None:
        return console(config, args.session)
    if args.session is not None:
        raise UsageError("--resume is for the console, without a command")
    if args.command != "monitor":  # which opens a screen, and collects after its first frame
        gc.enable()
    return int(module_of(args.command).run(config, args))


def configuration(args: argparse.Namespace) -> Config:
    """The configuration with the options of the command line over it. Raises UsageError."""
    given = vars(args)
    overrides: dict[str, dict[str, Any]] = {
        "engine": {"device": given.get("device"), "compute_type": given.get("compute_type")},
        "theme": {"name": given.get("theme")},
    }
    _add_engine(overrides, given)
    return load_config(given.get("config"), overrides)


def _add_engine(overrides: dict[str, dict[str, Any]], given: dict[str, Any]) -> None:
    """--engine, and --model, which is the server's where one is chosen."""
    name, model = given.get("engine"), given.get("model")
    if name is None and model is not None:
        name = load_config(given.get("config")).engine.name
    if name is None or name == LOCAL:
        overrides["engine"]["name"] = name
        overrides["model"] = {"name": model}
        return
    settings = {} if model is None else {"model": model}
    if "://" in name:
        check_url(name, "--engine")
        from urllib.parse import urlsplit  # 4 ms that only this needs

        settings["url"], name = name, urlsplit(name).netloc
    overrides["engine"]["name"] = name
    if settings:
        overrides["engines"] = {name: settings}


def console(config: Config, resume: int | None = None) -> int:
    """Open the console, with a session where `resume` is its id or 0 for the newest; afterwards say how it goes on.

    Raises UsageError where there is no terminal that can show it.
    """
    need_terminal("the console", "Use phitui ask in scripts")
    from phitui.tui.app.app import run as run_app

    code, session = run_app(config) if resume is None else run_app(config, resume)
    if session is not None and code == ExitCode.DONE:
        narrate(f"This chat is kept: phitui --resume {session} goes on with it.")
    return code


def need_terminal(what: str, instead: str) -> None:
    """Raises UsageError where no terminal is there that can show `what`."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError(f"{what} needs a terminal on stdin and stdout", instead)
    if os.environ.get("TERM", "") in ("", "dumb"):
        raise UsageError(f"TERM={os.environ.get('TERM', '')!r} cannot show {what}", f"Set TERM. {instead}")
    if sys.__stderr__ is None or not sys.__stderr__.isatty():  # Textual draws there, and it may be a file
        vars(sys)["__stderr__"] = sys.__stdout__
