"""Configuration: where it lies, how its layers come together, and how one setting is written back."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from phitui.config.schema import KEYS, NAMED, SECTIONS, check_layer
from phitui.config.schema import Config as Config  # what most modules want of the two
from phitui.core.errors import PhituiError, UsageError
from phitui.core.files import read_small, replace_file
from phitui.core.resources import resource
from phitui.core.text import one_line

CONFIG_NAME = "config.toml"
# Far above any real configuration; below what a device file or a wrong path would pour in.
_MAX_BYTES = 1_000_000


def home(environ: Mapping[str, str] = os.environ) -> Path:
    """The folder of models, sessions, profiles and logs: PHITUI_HOME, or the system's for user data. Raises UsageError
    where there is neither, as for a user whom the system does not know."""
    if environ.get("PHITUI_HOME"):
        return _expanded(environ["PHITUI_HOME"]).absolute()
    return _base(environ, "XDG_DATA_HOME", "user_data_path")


def models_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """The model store."""
    return home(environ) / "models"


def logs_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """Where child processes write what they have to say."""
    return home(environ) / "logs"


def config_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """The folder of the user's config.toml and themes: with PHITUI_HOME below that, where there is no home folder.
    Raises UsageError as `home`."""
    return _base(environ, "XDG_CONFIG_HOME", "user_config_path")


def user_config_file(environ: Mapping[str, str] = os.environ) -> Path:
    """The user's own config.toml, whether it is there or not."""
    return config_dir(environ) / CONFIG_NAME


def _base(environ: Mapping[str, str], variable: str, function: str) -> Path:
    # The XDG specification has relative paths ignored.
    if environ.get(variable, "").startswith("/"):
        return Path(environ[variable]) / "phitui"
    import platformdirs

    try:
        path: Path = getattr(platformdirs, function)("phitui", appauthor=False)
    except (RuntimeError, KeyError) as error:
        if environ.get("PHITUI_HOME"):
            return _expanded(environ["PHITUI_HOME"]).absolute() / "config"
        raise UsageError(
            f"there is no home folder here: HOME is not set, and the system does not know user {os.getuid()}",
            "Set HOME, or PHITUI_HOME to a folder that phitui may write.",
        ) from error
    return path


def _expanded(path: Path | str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError:  # "~somebody" whom the system does not know
        return Path(path)


def load_config(
    config_flag: Path | None = None, overrides: Mapping[str, Any] | None = None, environ: Mapping[str, str] = os.environ
) -> Config:
    """The settings of all layers: shipped < user's file < PHITUI_CONFIG < `config_flag` < `overrides`.

    `overrides` is `{section: {key: value}}`; a value of None there means that the option was not given.
    Raises UsageError for what cannot be read or is wrong, and for a file that was named and is not there.
    """
    files = [(resource(CONFIG_NAME), True), (user_config_file(environ), False)]
    files += [(_expanded(name), True) for name in (environ.get("PHITUI_CONFIG"), config_flag) if name]
    merged: dict[str, dict[str, Any]] = {section: {} for section in (*SECTIONS, *NAMED, KEYS)}
    sources = []
    for path, must_exist in files:
        data = _read_layer(path, must_exist)
        if data is not None:
            sources.append(path)
            _merge(merged, data, shown_path(path))
    given = {s: {k: v for k, v in values.items() if v is not None} for s, values in (overrides or {}).items()}
    _merge(merged, given, "command line")
    sections = {name: _section(name, merged[name]) for name in SECTIONS}
    named: dict[str, Any] = {
        table: {name: kind(**values) for name, values in merged[table].items()} for table, kind in NAMED.items()
    }
    return Config(**sections, **named, keys=merged[KEYS], sources=tuple(sources))


def _merge(merged: dict[str, dict[str, Any]], data: Mapping[str, Any], where: str) -> None:
    for section, values in check_layer(data, where).items():
        if section in NAMED:
            for name, settings in values.items():
                merged[section].setdefault(name, {}).update(settings)
        else:
            merged[section].update(values)


def _section(name: str, values: dict[str, Any]) -> Any:
    try:
        return SECTIONS[name](**values)
    except TypeError as error:  # every key is known by now, so one is missing from the file with the defaults
        raise PhituiError(f"{resource(CONFIG_NAME)}: [{name}]: {error}", "Install phitui again.") from error


def _read_layer(path: Path, must_exist: bool) -> dict[str, Any] | None:
    try:
        return read_toml(path)
    except FileNotFoundError as error:
        if must_exist:
            raise UsageError(f"{shown_path(path)}: no such file", "Check --config and PHITUI_CONFIG.") from error
        return None


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file's content. Raises FileNotFoundError where there is none, UsageError where it is no good."""
    return parse_toml(_read_text(path), path)


def parse_toml(text: str, path: Path) -> dict[str, Any]:
    """The content of TOML text that stands in `path`. Raises UsageError with the line of what is wrong."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise UsageError(f"{shown_path(path)}: lists or tables are nested too deep") from error
    except ValueError as error:  # TOMLDecodeError, and what int() says of a number of thousands of digits
        raise UsageError(f"{shown_path(path)}: {_syntax_error(str(error), text)}") from error


def _syntax_error(message: str, text: str) -> str:
    place = re.search(r" \(at line (\d+), column (\d+)\)$", message)
    if place:
        return f"line {place[1]}, column {place[2]}: not TOML: {one_line(message[: place.start()], 120)}"
    if message.endswith("(at end of document)"):
        return f"line {text.rstrip().count(chr(10)) + 1}: not TOML: {one_line(message, 120)}"
    return f"not TOML: {one_line(message, 120)}"


def _read_text(path: Path) -> str:
    try:
        data = read_small(path, _MAX_BYTES)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(str(path)) from error
    except OSError as error:
        raise UsageError(f"{shown_path(path)}: cannot be read: {error.strerror}") from error
    try:
        return data.decode("utf-8-sig")  # some editors begin a file with a byte order mark
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{shown_path(path)}: line {line}: not UTF-8 (byte 0x{data[error.start]:02x})") from error


def shown_path(path: Path) -> str:
    """A path for a person: on one line, and with ~ for the home folder."""
    text = str(path)
    user = os.environ.get("HOME", "").rstrip("/")
    if user and text.startswith(user + "/"):
        text = "~" + text[len(user) :]
    return one_line(text, 200)


def save_setting(path: Path, dotted_key: str, value: str | int | float | bool) -> None:
    """Write one setting ("theme.name") into the user's config.toml at `path`. Raises as `save_settings`."""
    save_settings(path, {dotted_key: value})


def save_settings(path: Path, values: Mapping[str, str | int | float | bool]) -> None:
    """Write settings into the user's config.toml at `path`, all of them or none; all else in the file stays.

    File and folders are made where they are missing (the file 0600). Raises UsageError where a key, a
    value or the file that is there is wrong, and PhituiError where it cannot be written.
    """
    try:
        text = _read_text(path)
    except FileNotFoundError:
        text = ""
    for dotted_key, value in values.items():
        section, _, key = dotted_key.partition(".")
        engine, _, key = key.rpartition(".") if section == "engines" else ("", "", key)
        names = [section, engine] if engine else [section]
        check_layer(_nested([*names, key], value), shown_path(path))
        text = _with_setting(text, path, names, key, value)
    try:
        Path(os.path.realpath(path)).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        replace_file(path, text.encode("utf-8"))
    except OSError as error:
        raise PhituiError(f"{shown_path(path)}: cannot be written: {error.strerror}") from error


def _nested(names: list[str], value: object) -> dict[str, Any]:
    """Tables within tables, with the value in the innermost."""
    found: Any = value
    for name in reversed(names):
        found = {name: found}
    return dict(found)


def _with_setting(text: str, path: Path, names: list[str], key: str, value: str | int | float | bool) -> str:
    """The text with the value in the table of these names."""
    wanted = parse_toml(text, path)
    check_layer(wanted, shown_path(path))
    inner = wanted
    for name in names:
        inner = inner.setdefault(name, {})
    inner[key] = value
    import tomlkit  # 40 ms that only this needs

    document = tomlkit.parse(text)
    table: Any = document
    for name in names:
        if name not in table:
            if text.strip():
                document.add(tomlkit.nl())
            table.add(name, tomlkit.table(is_super_table=name != names[-1]))
        table = table[name]
    table[key] = value
    changed = tomlkit.dumps(document)
    if parse_toml(changed, path) != wanted:
        dotted = ".".join([*names, key])
        raise PhituiError(f"{shown_path(path)}: cannot set {dotted} in a file of this form", "Edit it by hand.")
    return changed
