"""Sessions as files: Markdown to read, JSON to keep and to bring in again. What is brought in is untrusted."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from phitui.config.schema import check_layer
from phitui.core.errors import PhituiError, UsageError
from phitui.core.files import create_file, read_small
from phitui.storage.sessions.session_types import TITLE_CHARS, KeptTurn, Session

# Far above any real session; below what would fill the memory.
MAX_BYTES = 256_000_000


class Exported(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A session as JSON. `turns` have ids above 0 of their own, parents before children; `leaf` is the one at which the
    chat stood. `parameters` are those in which the chat differed from config.toml. `created` is in seconds since 1970
    (UTC)."""

    format: Literal["phitui-session"]
    version: Literal[1]
    title: Annotated[str, msgspec.Meta(max_length=1000)]
    system: str = ""
    parameters: dict[str, Any] = {}
    created: Annotated[float, msgspec.Meta(ge=0, le=1e11)]
    leaf: int | None = None
    turns: Annotated[list[KeptTurn], msgspec.Meta(max_length=1_000_000)]


def to_json(session: Session) -> bytes:
    """The whole tree, indented, with a newline at the end."""
    row = session.row
    exported = Exported(
        format="phitui-session", version=1, title=row.title, system=row.system, parameters=row.own(),
        created=row.created, leaf=row.leaf, turns=session.turns,
    )  # fmt: skip
    return msgspec.json.format(msgspec.json.encode(exported), indent=2) + b"\n"


def to_markdown(session: Session) -> str:
    """The branch that is shown, as a person reads it; what the model wrote stands as it is."""
    row = session.row
    made = datetime.fromtimestamp(row.created, timezone.utc)
    parts = [f"# {row.title}", f"{made:%Y-%m-%d %H:%M} UTC" + (f" · {row.model}" if row.model else "")]
    if row.system:
        parts += ["## System", row.system]
    for turn in session.path():
        parts += ["## Prompt", turn.prompt, *(["## Thinking", turn.thinking] if turn.thinking else [])]
        parts += ["## Answer", turn.text or f"*(none: {turn.error or turn.state})*"]
    return "\n\n".join(parts) + "\n"


def from_json(data: bytes, where: str) -> Exported:
    """A session out of a file, its turns with ids and parents below 0, as `SessionStore.insert` takes them.

    Raises UsageError with what is wrong with it.
    """
    try:
        exported = msgspec.json.decode(data, type=Exported)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{where}: this is not a session that phitui exported: {str(error)[:200]}") from error
    exported.parameters = check_layer({"generation": exported.parameters}, where)["generation"]
    seen: set[int] = set()
    for turn in exported.turns:
        if turn.id < 1 or turn.id >= 2**62 or turn.id in seen:
            raise UsageError(f"{where}: turn {turn.id}: an id must be above 0 and there once")
        if turn.parent is not None and turn.parent not in seen:
            raise UsageError(f"{where}: turn {turn.id}: its parent {turn.parent} does not stand before it")
        seen.add(turn.id)
    if exported.leaf is not None and exported.leaf not in seen:
        raise UsageError(f"{where}: leaf {exported.leaf} is none of the turns")
    for turn in exported.turns:
        turn.id, turn.parent = -turn.id, None if turn.parent is None else -turn.parent
    exported.leaf = None if exported.leaf is None else -exported.leaf
    exported.title = " ".join(exported.title.split())[:TITLE_CHARS] or "imported"
    return exported


def read_file(path: Path) -> Exported:
    """The session in a JSON file. Raises UsageError."""
    try:
        data = read_small(path, MAX_BYTES)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UsageError(f"{path}: there is no such file") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    return from_json(data, str(path))


def write_file(path: Path, session: Session, as_json: bool) -> None:
    """Write a session (0600), as JSON or as Markdown.

    Raises UsageError where a file of this name is there, PhituiError where it cannot be written.
    """
    data = to_json(session) if as_json else to_markdown(session).encode()
    try:
        create_file(path, data)
    except FileExistsError as error:
        raise UsageError(f"{path} is there already", "Give another name") from error
    except OSError as error:
        raise PhituiError(f"{path}: cannot be written: {error.strerror}") from error


def file_name(title: str) -> str:
    """A name for the file of a session: its title's letters, digits and dashes, with `.md`."""
    words = "".join(character if character.isalnum() else " " for character in title.lower()).split()
    return ("-".join(words)[:60].strip("-") or "session") + ".md"
