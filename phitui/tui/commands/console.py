"""The console's own commands."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from pathlib import Path

from phitui.config.remotes import LOCAL
from phitui.config.schema import nearest
from phitui.core.errors import UsageError
from phitui.core.text import one_line
from phitui.tui.commands.navigation import Navigation
from phitui.tui.commands.paths import paths
from phitui.tui.commands.registry import Commands, fitting, nothing
from phitui.tui.widgets.completion import Suggestion
from phitui.workbench.chat.attachments import path_of


def register_console(commands: Commands, app: Navigation) -> None:
    """Add them to `commands`."""

    def simple(name: str, summary: str, deed: Callable[[], object]) -> None:
        def run(argument: str) -> Awaitable[None] | None:
            del argument
            made = deed()
            return made if isinstance(made, Awaitable) else None

        commands.register(name, summary, None, run)

    simple("help", "all keys and commands", partial(app.open, "help"))
    simple("new", "a new chat; this one stays as a session", app.new_chat)
    simple("sessions", "search, resume, rename, export and delete chats", partial(app.open, "sessions"))
    simple("tune", "the tuner: the fastest batch and configuration", partial(app.open, "tuner"))
    simple("monitor", "all devices, their history and processes", partial(app.open, "monitor"))
    simple("park", "give the model's memory back until the next prompt", app.workbench.park)
    simple("edit", "write the prompt in $VISUAL or $EDITOR", app.edit_prompt)
    simple("quit", "leave phitui", app.leave)
    commands.register("find", "find words in this chat", nothing, app.find, "TEXT")
    commands.register("file", "send a text file with the next prompt", paths, app.attach, "PATH")
    commands.register("model", "switch to another model", partial(_models, app), partial(_model, app), "[NAME]")
    commands.register("engine", "switch to another engine", partial(_engines, app), partial(_engine, app), "[NAME]")
    commands.register("theme", "switch to another theme", partial(_themes, app), partial(_theme, app), "[NAME]")
    commands.register("batch", "run a file of prompts", paths, partial(_batch, app), "[PATH]")
    commands.register("rename", "rename this session", nothing, partial(_rename, app), "TITLE")


def _models(app: Navigation, typed: str) -> Iterable[Suggestion]:
    return fitting((row.name, row.title or "") for row in app.workbench.models.rows if row.ready)(typed)


def _model(app: Navigation, name: str) -> None:
    if not name:
        app.open("models")
        return
    rows = {row.name: row for row in app.workbench.models.rows if row.ready}
    if name not in rows:
        raise UsageError(_not_there("model", name, rows), "F2 shows all models and downloads others.")
    app.switch_model(rows[name])


def _engines(app: Navigation, typed: str) -> Iterable[Suggestion]:
    known = app.engine_names()
    return fitting((name, "on this machine" if name == LOCAL else url) for name, url in known.items())(typed)


def _engine(app: Navigation, name: str) -> None:
    if not name:
        app.open("engines")
        return
    if name not in app.engine_names():
        raise UsageError(_not_there("engine", name, app.engine_names()))
    app.switch_engine(name)


def _themes(app: Navigation, typed: str) -> Iterable[Suggestion]:
    return fitting((name, "") for name in app.theme_names())(typed)


def _theme(app: Navigation, name: str) -> None:
    if not name:
        app.next_theme()
        return
    names = app.theme_names()
    if name not in names:
        raise UsageError(_not_there("theme", name, names))
    app.use_theme(name)


def _batch(app: Navigation, path: str) -> None:
    if path:
        app.add_batch(Path(path_of(path)))
    else:
        app.open("batches")


async def _rename(app: Navigation, title: str) -> None:
    sessions = app.workbench.sessions
    if sessions.session is None:
        raise UsageError("there is no session yet: it begins with the first prompt")
    await sessions.rename(sessions.session, title)
    app.tell(f"This session is called “{one_line(title, 60)}” now")


def _not_there(what: str, name: str, known: Iterable[str]) -> str:
    names = list(known)
    near = nearest(name, names)
    hint = f"did you mean {near}?" if near else f"there is {', '.join(names[:8]) or 'none'}"
    return f"there is no {what} {one_line(name, 40)} here; {one_line(hint, 200)}"
