"""The settings by type and range, and the check of one layer of them against these types.

Defaults are not here: config.toml, which ships with phitui, is the one source of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec

from phitui.config.remotes import HostSettings, RemoteSettings, check_name
from phitui.config.remotes import check_value as check_remote_value
from phitui.core.errors import UsageError
from phitui.core.text import one_line


class ModelSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[model]: `name` is a name in the store, a folder, or "auto"."""

    name: Annotated[str, msgspec.Meta(min_length=1)]


class EngineSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[engine]: `name` is "ct2", the local engine, or that of an [engines.NAME]; the rest is the local one's. `threads`
    of each worker, 0 means measured; `batch` in rows; `kv_tokens` 0 means not measured; `restart_limit` counts restarts
    in a row; `park_after_s` 0 means never."""

    name: Annotated[str, msgspec.Meta(min_length=1)]
    device: Literal["auto", "cuda", "cpu"]
    compute_type: Literal[
        "auto", "int8", "int8_float16", "int8_bfloat16", "int8_float32", "float16", "bfloat16", "float32"
    ]
    threads: Annotated[int, msgspec.Meta(ge=0, le=1024)]
    workers: Annotated[int, msgspec.Meta(ge=1, le=1024)]
    batch: Annotated[int, msgspec.Meta(ge=1, le=65536)]
    kv_tokens: Annotated[int, msgspec.Meta(ge=0, le=10**12)]
    restart_limit: Annotated[int, msgspec.Meta(ge=0, le=100)]
    park_after_s: Annotated[int, msgspec.Meta(ge=0, le=86400)]


class GenerationSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[generation]: how an answer is sampled. On CUDA, top_p needs a top_k from 1 to 8192. A `seed` of -1 is none."""

    system: str
    max_tokens: Annotated[int, msgspec.Meta(ge=1, le=1_048_576)]
    temperature: Annotated[float, msgspec.Meta(ge=0, le=5)]
    top_k: Annotated[int, msgspec.Meta(ge=1, le=8192)]
    top_p: Annotated[float, msgspec.Meta(gt=0, le=1)]
    repetition_penalty: Annotated[float, msgspec.Meta(gt=0, le=10)]
    stop: Annotated[tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=200)], ...], msgspec.Meta(max_length=16)]
    seed: Annotated[int, msgspec.Meta(ge=-1, le=2**31 - 1)]


class ConsoleSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[console]: `repaint_hz` in repaints per second, `scroll_lines` in lines at once, `history_size` in prompts,
    `notify_after_s` in seconds; "auto" of `symbols` goes by the terminal's encoding, that of `motion` by whether it is
    reached over SSH."""

    repaint_hz: Annotated[int, msgspec.Meta(ge=1, le=15)]
    scroll_lines: Annotated[int, msgspec.Meta(ge=1, le=20)]
    history_size: Annotated[int, msgspec.Meta(ge=0, le=100_000)]
    paste_limit_chars: Annotated[int, msgspec.Meta(ge=1000, le=100_000_000)]
    keep_prompts: bool
    file_limit_bytes: Annotated[int, msgspec.Meta(ge=1000, le=100_000_000)]
    mouse: Literal["auto", "on", "off"]
    symbols: Literal["auto", "unicode", "ascii"]
    motion: Literal["auto", "full", "reduced"]
    markdown: bool
    notify: Literal["off", "bell", "osc9"]
    notify_after_s: Annotated[int, msgspec.Meta(ge=0, le=86400)]


class HardwareSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[hardware]: `interval_s` in seconds."""

    interval_s: Annotated[float, msgspec.Meta(ge=0.2, le=3600)]


class MonitorSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[monitor]: what graphs and bars are drawn with; "auto" goes by `console.symbols`."""

    symbols: Literal["auto", "braille", "ascii"]


class TunerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[tuner]: `limit` is a share of the usable device memory."""

    limit: Annotated[float, msgspec.Meta(ge=0.1, le=1)]


class ThemeSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[theme]: `name` of a shipped theme or of one in the user's themes folder."""

    name: Annotated[str, msgspec.Meta(min_length=1)]


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All settings. `engines` are those on other machines, `hosts` the machines whose hardware is shown, by name;
    `keys` what [keys] has, by the id of an action; `sources` are the files that all were read from, lowest layer
    first."""

    model: ModelSettings
    engine: EngineSettings
    generation: GenerationSettings
    console: ConsoleSettings
    hardware: HardwareSettings
    monitor: MonitorSettings
    tuner: TunerSettings
    theme: ThemeSettings
    engines: dict[str, RemoteSettings] = {}
    hosts: dict[str, HostSettings] = {}
    keys: dict[str, str] = {}
    sources: tuple[Path, ...] = ()


# Tables of tables, one for each engine or host.
ENGINES, HOSTS = "engines", "hosts"
NAMED: dict[str, type[msgspec.Struct]] = {ENGINES: RemoteSettings, HOSTS: HostSettings}
# A table of strings, by the ids of actions: which there are the screens know (phitui.tui.keys).
KEYS = "keys"
SECTIONS: dict[str, type[msgspec.Struct]] = {
    field.name: field.type for field in msgspec.structs.fields(Config) if field.name not in (*NAMED, KEYS, "sources")
}
_STRUCTS: dict[str, type[msgspec.Struct]] = {**SECTIONS, **NAMED}
_KINDS = {
    section: {field.name: field.type for field in msgspec.structs.fields(struct)}
    for section, struct in _STRUCTS.items()
}


def check_layer(data: Mapping[str, Any], where: str) -> dict[str, dict[str, Any]]:
    """One layer's settings as `{section: {key: value}}`, each checked against its type and range.

    `where` names the layer in the error (a file, "command line"). Raises UsageError for the first thing that
    is wrong: the section or key, what was expected, what was found, and the nearest known name.
    """
    return {
        section: _check_named(section, values, where)
        if section in NAMED
        else _check_keys(values, where)
        if section == KEYS
        else _check_section(section, section, values, where)
        for section, values in data.items()
    }


def _check_named(table: str, tables: Any, where: str) -> dict[str, Any]:
    if not isinstance(tables, Mapping):
        raise UsageError(f"{where}: {table}: expected sections [{table}.NAME], got {_shown(tables)}")
    checked = {}
    for name, values in tables.items():
        check_name(name, where, table)
        checked[name] = _check_section(table, f"{table}.{name}", values, where)
        for key, value in checked[name].items():
            check_remote_value(key, value, f"{where}: {table}.{name}.{key}")
    return checked


def _check_keys(keys: Any, where: str) -> dict[str, Any]:
    if not isinstance(keys, Mapping):
        raise UsageError(f"{where}: {KEYS}: expected a section [{KEYS}], got {_shown(keys)}")
    checked = {}
    for name, value in keys.items():
        if isinstance(value, Mapping):  # console.monitor without quotes is a table of its own
            inner = _check_keys(value, where)
            checked.update({f"{name}.{key}": text for key, text in inner.items()})
        else:
            checked[name] = _check_value(str, value, f"{where}: {KEYS}.{one_line(name, 60)}")
    return checked


def _check_section(section: str, title: str, values: Any, where: str) -> dict[str, Any]:
    """`title` is the section as the file has it: for an engine with its name."""
    kinds = _KINDS.get(section)
    if kinds is None:
        raise UsageError(_unknown(where, section, isinstance(values, Mapping)))
    if not isinstance(values, Mapping):
        raise UsageError(f"{where}: {title}: expected a section [{title}], got {_shown(values)}")
    checked = {}
    for key, value in values.items():
        if key not in kinds:
            raise UsageError(_unknown(where, f"{title}.{key}", is_section=False))
        checked[key] = _check_value(kinds[key], value, f"{where}: {title}.{key}")
    return checked


def _check_value(kind: Any, value: Any, where: str) -> Any:
    try:
        converted = msgspec.convert(value, kind)
    except msgspec.ValidationError:
        converted = None
    # NaN passes every range check of msgspec's, because each comparison with it is false.
    if converted is None or (isinstance(converted, float) and not math.isfinite(converted)):
        raise UsageError(f"{where}: expected {expected(kind)}, got {_shown(value)}")
    return converted


def expected(kind: Any) -> str:
    """A setting's type in words: `a whole number from 1 to 15`, `a number over 0, at most 1`, `one of "on", "off"`."""
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(f'"{value}"' for value in get_args(kind))
    if get_origin(kind) is dict:
        return "a table of strings"
    if get_origin(kind) is not Annotated:
        return {str: "a string", bool: "true or false"}.get(kind, str(kind))
    base, meta = get_args(kind)
    if get_origin(base) is tuple:
        length = get_args(get_args(base)[0])[1].max_length
        return f"a list of at most {meta.max_length} strings of 1 to {length} characters"
    if meta.min_length is not None:
        return "a string that is not empty"
    number = "a whole number" if base is int else "a number"
    if meta.gt is not None:
        return f"{number} over {meta.gt}, at most {meta.le}"
    return f"{number} from {meta.ge} to {meta.le}"


def _shown(value: Any) -> str:
    """A value as the file has it, short and on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "a section"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, str):
        return f'"{one_line(value, 40)}"'
    if isinstance(value, int) and abs(value) > 10**18:  # int("0x…") knows no limit, str() does
        return "a number that is far too large"
    return one_line(str(value), 40)


def _unknown(where: str, name: str, is_section: bool) -> str:
    shown = f"[{one_line(name, 60)}]" if is_section else one_line(name, 60)
    what = "section" if is_section else "setting"
    near = _nearest_section(name) if is_section else _nearest_setting(name)
    return f"{where}: {shown}: no such {what}" + (f"; did you mean {near}?" if near else "")


def _nearest_section(name: str) -> str:
    near = nearest(name, [*_KINDS, KEYS])
    return f"[{near}]" if near else ""


def _nearest_setting(dotted: str) -> str:
    """The setting that was meant: in its section, else in any, for a section is easily wrong or left out."""
    section, _, key = dotted.rpartition(".")
    table = section.partition(".")[0]
    known = _KINDS[table] if table in NAMED else _KINDS.get(section, ())
    near = nearest(key, known)
    if near:
        return f"{section}.{near}"
    owners = {key: section for section in SECTIONS for key in _KINDS[section]}
    near = nearest(key, owners)
    return f"{owners[near]}.{near}" if near else ""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that `name` looks most like; None where nothing comes near."""
    import difflib  # only on the way to an error

    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)), None)
