"""`phitui session`: what the console has kept, for scripts."""

from __future__ import annotations

import argparse
from datetime import datetime
from pathlib import Path
from typing import Any

from phitui.cli import listing, session_recover
from phitui.cli.output import narrate, write
from phitui.cli.parser import actions_of
from phitui.config.layers import Config, home
from phitui.core.errors import ExitCode, PhituiError, UsageError
from phitui.core.text import counted, one_line, sanitize
from phitui.storage.sessions.session_file import FILE_NAME, DamagedError
from phitui.storage.sessions.session_reading import reading
from phitui.storage.sessions.session_recovery import recovered
from phitui.storage.sessions.session_search import snippet
from phitui.storage.sessions.session_transfer import read_file, to_json, to_markdown, write_file
from phitui.storage.sessions.session_types import SessionRow, encoded
from phitui.storage.sessions.sessions import SessionStore

_MOST = 100_000
_SNIPPET_CHARS = 120

EXAMPLES = """  phitui session list
  phitui session search kv cache         turns with both words
  phitui session export 12 -o chat.md    a session as Markdown
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = actions_of(parser)
    listed = add("list", "list all sessions, the one that changed last first")
    listed.add_argument("--json", action="store_true", help="print one JSON array")
    show = add("show", "print a session as text, without terminal escapes")
    export = add("export", "write a session as Markdown, or with --json with all its branches")
    for action in (show, export):
        action.add_argument("id", type=int, metavar="ID", help="its number in phitui session list")
    export.add_argument("-o", "--output", metavar="FILE", type=Path, help="a new file to write, instead of stdout")
    export.add_argument("--json", action="store_true", help="as JSON, which import reads")
    bring = add("import", "read a session from a JSON file of export; prints its id")
    bring.add_argument("file", metavar="FILE", type=Path, help="a file that export --json wrote")
    remove = add("rm", "remove a session for good")
    remove.add_argument("id", type=int, metavar="ID", help="its number in phitui session list")
    search = add("search", "find turns with all of these words, the newest first")
    search.add_argument("text", metavar="TEXT", nargs="+", help="words to search for")
    recover = add("recover", "bring back what can be read of a damaged file of sessions")
    recover.add_argument(
        "file", metavar="FILE", type=Path, nargs="?", help="the damaged file (default: all known ones)"
    )


def run(config: Config, args: argparse.Namespace) -> int:
    """Do one action. Raises PhituiError."""
    del config
    path = home() / FILE_NAME
    if args.action == "recover":
        return session_recover.run(path, args.file)
    if args.action in _READING:
        return _read(path, args)
    store = SessionStore(path)
    try:
        _WRITING[args.action](store, args)
    finally:
        store.close()
    return int(ExitCode.DONE)


def _read(path: Path, args: argparse.Namespace) -> int:
    """Leaves the file as it is: of a damaged one what can be read is shown, after a line that says so."""
    action = _READING[args.action]
    try:
        with reading(path) as store:
            action(store, args)
            if args.action == "list" and not args.json and not store.count():
                narrate("There are no sessions yet: the console keeps each chat. To open it: phitui")
    except DamagedError as error:
        narrate(f"phitui: {error}")
    else:
        return int(ExitCode.DONE)
    with recovered(path) as (memory, _):
        try:
            action(SessionStore.reader(path, memory), args)
        except UsageError as error:
            raise PhituiError(f"in what can be read: {error.message}") from error
    return int(ExitCode.FAILED)


def _list(store: SessionStore, args: argparse.Namespace) -> None:
    rows = store.sessions(_MOST)
    if args.json:
        listing.write_json([_facts(row) for row in rows])
    elif listing.is_for_a_person():
        header = ("id", "changed", "turns", "model", "title")
        listing.write_table(header, [_fields(row, str(row.turns)) for row in rows], right=(0, 2))
    else:
        listing.write_lines([_fields(row, counted(row.turns, "turn")) for row in rows])


def _fields(row: SessionRow, turns: str) -> list[str]:
    return [str(row.id), _day(row), turns, one_line(row.model, 60), _title(row)]


def _facts(row: SessionRow) -> dict[str, Any]:
    """A session in JSON."""
    return {
        "id": row.id,
        "title": row.title,
        "model": row.model,
        "turns": row.turns,
        "created_unix_s": row.created,
        "changed_unix_s": row.changed,
        "system": row.system,
        "parameters": row.own(),
    }


def _show(store: SessionStore, args: argparse.Namespace) -> None:
    write(sanitize(to_markdown(store.load(args.id))))


def _export(store: SessionStore, args: argparse.Namespace) -> None:
    session = store.load(args.id)
    if args.output is not None:
        write_file(args.output, session, args.json or args.output.suffix.lower() == ".json")
    elif args.json:
        write(to_json(session).decode())
    else:
        write(to_markdown(session))


def _import(store: SessionStore, args: argparse.Namespace) -> None:
    read = read_file(args.file)
    own = encoded(read.parameters)
    session, _ = store.insert(read.title, read.system, read.created, read.turns, read.leaf, own)
    write(f"{session}\n")


def _remove(store: SessionStore, args: argparse.Namespace) -> None:
    store.remove(args.id)


def _search(store: SessionStore, args: argparse.Namespace) -> None:
    wanted = " ".join(args.text)
    hits = store.search(wanted, _MOST)
    titles = {row.id: _title(row) for row in store.rows(list({hit.session for hit in hits}))}
    for hit, turn in zip(hits, store.turns([hit.turn for hit in hits]), strict=True):
        text = f"{turn.prompt}\n{turn.text}"
        write(f"{hit.session}\t{titles.get(hit.session, '')}\t{one_line(snippet(text, wanted, _SNIPPET_CHARS), 200)}\n")


def _title(row: SessionRow) -> str:
    return one_line(row.title, 200)


def _day(row: SessionRow) -> str:
    return f"{datetime.fromtimestamp(row.changed):%Y-%m-%d %H:%M}"


_READING = {"list": _list, "show": _show, "export": _export, "search": _search}
_WRITING = {"import": _import, "rm": _remove}
