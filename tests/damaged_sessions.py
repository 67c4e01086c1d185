"""Files of sessions, whole and damaged in the ways in which files are."""

import os
import subprocess
import sys
from contextlib import closing

from phitui.storage.sessions.session_types import KeptTurn
from phitui.storage.sessions.sessions import SessionStore

PAGE = 4096
TURNS = 10


def make_sessions(path, number=20, turns=TURNS):
    """Sessions with the ids 1 to `number` and the titles "Chat 1" and so on, each a straight line of turns whose
    texts say which they are."""
    with closing(SessionStore(path)) as store:
        for session in range(1, number + 1):
            made = [
                KeptTurn(
                    id=-turn, parent=1 - turn if turn > 1 else None, prompt=f"prompt {session}-{turn} " + "x" * 300,
                    text=f"needle {session}-{turn} " + "word " * 200, model="tiny", created=1e9 + turn,
                )
                for turn in range(1, turns + 1)
            ]  # fmt: skip
            store.insert(f"Chat {session}", "be brief", 1e9 + session, made, -turns, '{"top_k":3}')


def spoil(path, *pages, fill=b"\xff"):
    """Write over pages, which count from 1 as SQLite's."""
    with path.open("r+b") as file:
        for page in pages:
            file.seek((page - 1) * PAGE)
            file.write(fill * PAGE)


def pages(path):
    return path.stat().st_size // PAGE


def killed_while_writing(path, number=5):
    """Sessions that a process has written and was killed before it closed the file: they are in the WAL."""
    path.parent.mkdir(parents=True, exist_ok=True)
    code = (
        "import os, sys; from pathlib import Path; import damaged_sessions as d; d.SessionStore.close = "
        "lambda store: os.kill(os.getpid(), 9); d.make_sessions(Path(sys.argv[1]), int(sys.argv[2]))"
    )
    environ = {**os.environ, "PYTHONPATH": os.path.dirname(__file__)}
    subprocess.run([sys.executable, "-c", code, str(path), str(number)], env=environ, check=False, timeout=60)
    assert path.with_name(path.name + "-wal").stat().st_size
