"""The commands about a chat's parameters and its answers."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import partial

from phitui.config.layers import home
from phitui.core.errors import UsageError
from phitui.core.text import one_line
from phitui.storage.presets import FILE_NAME, Presets
from phitui.tui.commands.navigation import Navigation
from phitui.tui.commands.paths import paths
from phitui.tui.commands.registry import Commands, fitting
from phitui.tui.widgets.completion import Suggestion
from phitui.workbench.chat.attachments import path_of
from phitui.workbench.chat.exchanges import Exchange


def register_chat(commands: Commands, app: Navigation) -> None:
    """Add them to `commands`."""
    commands.register("set", "set a parameter of this chat", partial(_names, app), partial(_set, app), "[NAME VALUE]")
    commands.register("system", "set the system prompt, or use a preset", _presets, partial(_system, app), "TEXT|@NAME")
    commands.register("reset", "reset the parameters to the defaults of config.toml", None, partial(_reset, app))
    commands.register(
        "copy", "copy the last answer, or its code block N", partial(_blocks, app), partial(_copy, app), "[N]"
    )
    commands.register("save", "save the last answer to a file", paths, partial(_save, app), "PATH")


def _names(app: Navigation, typed: str) -> Iterable[Suggestion]:
    parameters = app.workbench.parameters
    names = parameters.offered(app.workbench.engine.loaded)
    return fitting((f"{name} ", parameters.line(name)) for name in names)(typed)


def _set(app: Navigation, argument: str) -> None:
    if not argument:
        app.open("parameters")
        return
    name, _, value = argument.partition(" ")
    if not value.strip():
        raise UsageError(f"no value is given for {one_line(name, 40)}", "/set temperature 0.7")
    app.tell(app.set_parameter(name, value.strip()))


def _presets(typed: str) -> Iterable[Suggestion]:
    if not typed.startswith("@"):
        return ()
    presets = Presets(home(os.environ) / FILE_NAME).all()
    return fitting((f"@{one.name}", one_line(one.text, 60)) for one in presets)(typed)


def _system(app: Navigation, text: str) -> None:
    if text.startswith("@"):
        presets = {one.name: one.text for one in Presets(home(os.environ) / FILE_NAME).all()}
        if text[1:] not in presets:
            raise UsageError(f"there is no preset {one_line(text[1:], 40)}", "F7 shows and keeps them.")
        text = presets[text[1:]]
    app.set_system(text)
    app.tell("The system prompt applies from the next prompt." if text else "No system prompt from here on.")


def _reset(app: Navigation, _: str) -> None:
    app.reset_parameters()
    app.tell("The parameters are the defaults of config.toml again.")


def _answer(app: Navigation) -> Exchange:
    answered = [one for one in app.workbench.chat.exchanges if one.text.strip()]
    if not answered:
        raise UsageError("there is no answer yet")
    return answered[-1]


def _blocks(app: Navigation, typed: str) -> Iterable[Suggestion]:
    blocks = app.copying.blocks(_answer(app))
    return fitting((str(n), one_line(block.text, 60)) for n, block in enumerate(blocks, 1))(typed)


def _copy(app: Navigation, number: str) -> None:
    exchange, copying = _answer(app), app.copying
    if not number:
        copying.do("copy", exchange)
    elif number.isascii() and number.isdigit():
        copying.copy_block(exchange, int(number))
    else:
        raise UsageError(f"{one_line(number, 40)} is not the number of a code block")


def _save(app: Navigation, path: str) -> None:
    if not path:
        app.copying.do("save", _answer(app))
    else:
        app.copying.save_to(_answer(app), path_of(path))
