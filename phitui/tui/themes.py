"""Themes: one TOML file each, those that ship with phitui and the user's own over them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from textual.color import Color, ColorParseError
from textual.css.errors import DeclarationError
from textual.css.parse import parse_declarations
from textual.css.tokenizer import TokenError
from textual.theme import Theme

from phitui.config.layers import config_dir, read_toml, shown_path
from phitui.config.schema import nearest
from phitui.core.errors import PhituiError, UsageError
from phitui.core.resources import resource
from phitui.core.text import one_line

DEFAULT = "phitui-dark"
COLORS = (
    *("primary", "secondary", "accent"),
    *("background", "surface", "panel", "foreground"),
    *("success", "warning", "error"),
)
# The gauges' own variables, and which colour of a theme stands in for one that it does not name.
_GAUGES = {
    "gauge-weights": "secondary",
    "gauge-kv": "primary",
    "gauge-work": "accent",
    "gauge-others": "warning",
    "gauge-free": "panel",
    "gauge-track": "panel",
    "gauge-light": "secondary",
    "gauge-ok": "success",
    "gauge-heavy": "accent",
    "gauge-warn": "warning",
    "gauge-bad": "error",
}
GAUGE_VARIABLES = tuple(_GAUGES)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_REQUIRED = {"name": str, "title": str, "dark": bool, "colors": dict}
_OPTIONAL = {"ansi": bool, "variables": dict}
_WORDS = {str: "a string", bool: "true or false", dict: "a section"}
_COLOR = 'a colour such as "#74c7b4"'


@dataclass
class ConsoleTheme(Theme):
    """A Textual theme with a title to choose it by, and with a colour for each gauge in `variables`."""

    title: str = ""


def theme_names(environ: Mapping[str, str] = os.environ) -> list[str]:
    """The names of all theme files, the default first. Whether each can be used is not looked at."""
    return sorted(_scan(environ)[0], key=_default_first)


def load_theme(name: str, environ: Mapping[str, str] = os.environ) -> ConsoleTheme:
    """The theme of that name. Raises UsageError where there is none, or where its file is wrong."""
    if _NAME.fullmatch(name):
        for folder in (_user_folder(environ), resource("themes")):
            if (folder / f"{name}.toml").is_file():
                return read_theme(folder / f"{name}.toml")
    names = theme_names(environ)
    near = nearest(name, names)
    hint = f"did you mean {near}?" if near else f"there are {', '.join(names)}"
    raise UsageError(f'no theme is called "{one_line(name, 60)}"; {hint}')


def load_all(environ: Mapping[str, str] = os.environ) -> tuple[list[ConsoleTheme], list[PhituiError]]:
    """Every theme that can be used, the default first, and what is wrong with the files that cannot.

    Where a user's file is wrong, the shipped theme of the same name stands in.
    """
    files, errors = _scan(environ)
    themes = []
    for name in sorted(files, key=_default_first):
        for path in files[name]:
            try:
                themes.append(read_theme(path))
                break
            except PhituiError as error:
                errors.append(error)
    return themes, errors


def gauge_defaults(theme: Theme) -> dict[str, str]:
    """A colour for each gauge out of a theme's general ones, for a theme that does not name them."""
    return {gauge: getattr(theme, color) or theme.primary for gauge, color in _GAUGES.items()}


def read_theme(path: Path) -> ConsoleTheme:
    """The theme in one file. Raises UsageError with file, key and what was expected."""
    where = shown_path(path)
    try:
        data = read_toml(path)
    except FileNotFoundError as error:
        raise UsageError(f"{where}: no such file") from error
    _check_keys(data, where)
    if data["name"] != path.stem:
        raise _wrong(where, "name", f'"{path.stem}", as the file is called', data["name"])
    _check_colors(data["colors"], where)
    variables = data.get("variables", {})
    for name, value in variables.items():
        _check_variable(name, value, where)
    return _build(data, variables)


def _build(data: Mapping[str, Any], variables: Mapping[str, str]) -> ConsoleTheme:
    theme = ConsoleTheme(
        name=data["name"],
        title=one_line(data["title"], 60),
        dark=data["dark"],
        ansi=data.get("ansi", False),
        **data["colors"],
    )
    theme.variables = {**gauge_defaults(theme), **_gaps(theme), **_readable(theme, variables), **variables}
    return theme


def _readable(theme: Theme, variables: Mapping[str, str]) -> dict[str, str]:
    """What Textual makes too faint: placeholders and what is off (2.8:1), a scrollbar's handle (1.2:1)."""
    if theme.ansi:
        return {}
    behind, front = Color.parse(theme.background or "black"), Color.parse(theme.foreground or "white")
    muted = variables.get("text-muted", behind.blend(front, 0.7).hex)
    return {"text-muted": muted, "text-disabled": muted, "scrollbar": f"{muted} 80%"}


def _gaps(theme: Theme) -> dict[str, str]:
    """Variables that Textual's widgets use and that it does not generate for themes of ANSI colours."""
    if not theme.ansi:
        return {}
    generated = theme.to_color_system().generate()
    return {name: "ansi_default" for name in _known_variables() if name not in generated}


def _default_first(name: str) -> tuple[bool, str]:
    return name != DEFAULT, name


def _user_folder(environ: Mapping[str, str]) -> Path:
    return config_dir(environ) / "themes"


def _scan(environ: Mapping[str, str]) -> tuple[dict[str, list[Path]], list[PhituiError]]:
    """The files of each theme name, the user's before the shipped one, and what no theme can be made of."""
    found: dict[str, list[Path]] = {}
    errors: list[PhituiError] = []
    for folder in (_user_folder(environ), resource("themes")):
        try:
            paths = sorted(path for path in folder.iterdir() if path.suffix == ".toml" and path.name[0] != ".")
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            errors.append(UsageError(f"{shown_path(folder)}: cannot be read: {error.strerror}"))
            continue
        for path in paths:
            if _NAME.fullmatch(path.stem):
                found.setdefault(path.stem, []).append(path)
            else:
                errors.append(UsageError(f"{shown_path(path)}: expected a file name of letters, digits, - and _"))
    return found, errors


def _check_keys(data: Mapping[str, Any], where: str) -> None:
    kinds: dict[str, type] = {**_REQUIRED, **_OPTIONAL}
    for key, value in data.items():
        if key not in kinds:
            raise _unknown(where, key, "", kinds)
        if not isinstance(value, kinds[key]):
            raise _wrong(where, key, _WORDS[kinds[key]], value)
    for key, kind in _REQUIRED.items():
        if key not in data:
            raise UsageError(f"{where}: {key}: is missing; expected {_WORDS[kind]}")


def _check_colors(colors: Mapping[str, Any], where: str) -> None:
    for key, value in colors.items():
        if key not in COLORS:
            raise _unknown(where, key, "colors.", COLORS)
        if not _is_color(value):
            raise _wrong(where, f"colors.{key}", _COLOR, value)
    for key in COLORS:
        if key not in colors:
            raise UsageError(f"{where}: colors.{key}: is missing; expected {_COLOR}")


def _check_variable(name: str, value: Any, where: str) -> None:
    if name in GAUGE_VARIABLES:
        if not _is_color(value):
            raise _wrong(where, f"variables.{name}", _COLOR, value)
        return
    if name not in _known_variables():
        raise _unknown(where, name, "variables.", [*GAUGE_VARIABLES, *_known_variables()])
    styles = "style" in name
    if not _is_css("text-style" if styles else "color", value):
        expected = 'a style such as "bold underline"' if styles else f'{_COLOR} or "#74c7b4 30%"'
        raise _wrong(where, f"variables.{name}", expected, value)


@lru_cache(maxsize=1)
def _known_variables() -> tuple[str, ...]:
    """The variables that Textual's own widgets use."""
    return tuple(Theme("any", primary="#000000").to_color_system().generate())


def _is_color(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        Color.parse(value)
    except ColorParseError:
        return False
    return True


def _is_css(rule: str, value: Any) -> bool:
    """Whether Textual's parser takes the value: what it refuses would end the console at that theme."""
    if not isinstance(value, str) or not re.fullmatch(r"[\w#(),.% -]+", value):
        return False
    try:
        styles = parse_declarations(f"{rule}: {value};", ("", ""))
    except (DeclarationError, TokenError):
        return False
    return rule != "color" or styles.color is None or 0 <= styles.color.a <= 1


def _wrong(where: str, key: str, expected: str, value: Any) -> UsageError:
    shown = f'"{one_line(value, 40)}"' if isinstance(value, str) else one_line(repr(value), 40)
    return UsageError(f"{where}: {key}: expected {expected}, got {shown}")


def _unknown(where: str, key: str, section: str, known: Any) -> UsageError:
    near = nearest(key, known)
    hint = f"; did you mean {section}{near}?" if near else ""
    return UsageError(f"{where}: {section}{one_line(key, 60)}: no such key{hint}")
