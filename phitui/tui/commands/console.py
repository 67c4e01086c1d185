"""The console's own commands."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from phitui.config.layers import nearest
from phitui.config.remotes import LOCAL
from phitui.core.errors import UsageError
from phitui.core.text import one_line
from phitui.tui.commands.paths import paths
from phitui.tui.commands.registry import Choice, Commands, fitting, nothing
from phitui.workbench.chat.attachments import path_of

if TYPE_CHECKING:
    from phitui.tui.app.app import PhituiApp


def register_all(commands: Commands, app: PhituiApp) -> None:
    """Add them to `commands`."""
    console = app.console_screen

    def simple(name: str, summary: str, deed: Callable[[], object]) -> None:
        def run(argument: str) -> Awaitable[None] | None:
            del argument
            made = deed()
            return made if isinstance(made, Awaitable) else None

        commands.register(name, summary, None, run)

    simple("help", "all keys and commands", app.action_help)
    simple("keys", "all keys in force, and their ids", app.action_help)
    simple("new", "a new chat; this one stays as a session", console.action_new_chat)
    simple("sessions", "search, resume, rename, export and delete chats", app.action_sessions)
    simple("tune", "the tuner: the fastest batch and configuration", app.action_tuner)
    simple("monitor", "all devices, their history and processes", app.action_monitor)
    simple("park", "give the model's memory back until the next prompt", console.action_park)
    simple("edit", "the prompt in $VISUAL or $EDITOR", console.action_editor)
    simple("quit", "leave phitui", app.action_quit)
    commands.register("find", "find words in this chat", nothing, console.find, "TEXT")
    commands.register("file", "send a text file with the next prompt", paths, console.prompting.attach, "PATH")
    commands.register(
        "model", "another model answers from here on", partial(_models, app), partial(_model, app), "[NAME]"
    )
    commands.register("engine", "another engine answers", partial(_engines, app), partial(_engine, app), "[NAME]")
    commands.register("theme", "other colours", partial(_themes, app), partial(_theme, app), "[NAME]")
    commands.register("batch", "run a file of prompts", paths, partial(_batch, app), "[PATH]")
    commands.register("rename", "another title for this session", nothing, partial(_rename, app), "TITLE")


def _models(app: PhituiApp, typed: str) -> Iterable[Choice]:
    return fitting((row.name, row.title or "") for row in app.models.desk.rows if row.ready)(typed)


def _model(app: PhituiApp, name: str) -> None:
    if not name:
        app.models.open()
        return
    rows = {row.name: row for row in app.models.desk.rows if row.ready}
    if name not in rows:
        raise UsageError(_not_there("model", name, rows), "F2 shows all, and pulls others.")
    app.models.switch(rows[name])


def _engines(app: PhituiApp, typed: str) -> Iterable[Choice]:
    known = app.engines.known
    return fitting((name, "on this machine" if name == LOCAL else url) for name, url in known.items())(typed)


def _engine(app: PhituiApp, name: str) -> None:
    if not name:
        app.engines.open()
        return
    if name not in app.engines.known:
        raise UsageError(_not_there("engine", name, app.engines.known))
    app.engines.switch(name)


def _themes(app: PhituiApp, typed: str) -> Iterable[Choice]:
    return fitting((name, "") for name in app.theme_names())(typed)


def _theme(app: PhituiApp, name: str) -> None:
    if not name:
        app.action_next_theme()
        return
    names = app.theme_names()
    if name not in names:
        raise UsageError(_not_there("theme", name, names))
    app.use_theme(name)


def _batch(app: PhituiApp, path: str) -> None:
    app.batches.open()
    if path:
        app.batches.add(Path(path_of(path)))


async def _rename(app: PhituiApp, title: str) -> None:
    desk = app.sessions.desk
    if desk.session is None:
        raise UsageError("there is no session yet: it begins with the first prompt")
    await desk.rename(desk.session, title)
    app.notify(f"This session is called “{one_line(title, 60)}” now", timeout=3)


def _not_there(what: str, name: str, known: Iterable[str]) -> str:
    names = list(known)
    near = nearest(name, names)
    hint = f"did you mean {near}?" if near else f"there is {', '.join(names[:8]) or 'none'}"
    return f"there is no {what} {one_line(name, 40)} here; {one_line(hint, 200)}"
