"""A key stands in no file that phitui writes, and in no command line, while it is used and afterwards."""

import os
import sqlite3
from pathlib import Path

from raw_server import raw_server
from terminal import Console, command, environment

KEY = "sk-0123456789-very-secret"


def chat(connection):
    """The first answer works, all others are refused with the key in their text."""
    if connection.request.headers.get("authorization") != f"Bearer {KEY}":
        connection.reply(403, b"no key")
    elif b"first" in connection.request.body and b"second" not in connection.request.body:
        connection.head()
        connection.piece("all well", "stop")
        connection.usage(5, 3)
        connection.done()
    else:
        connection.reply(401, f'{{"error": "the key {KEY} is not valid"}}'.encode())


def command_lines(console):
    return [word for process in console.family() for word in process.cmdline()]


def test_neither_sessions_nor_logs_nor_command_lines_have_it(home):
    held = home / "key"
    held.write_text(KEY)
    held.chmod(0o600)
    with raw_server(chat) as server:
        settings = home / "config" / "phitui" / "config.toml"
        box = f'[engines.box]\nurl = "{server.url}"\napi_key_file = "{held}"\n'
        settings.write_text(settings.read_text() + box)
        with Console(command("--model", "tiny-phi3"), environment(home)) as console:
            console.wait_for("is ready on", 60)  # the local engine has a log
            console.send("/engine box\r")
            console.wait_for("answers through", 60)
            console.send("first\r")
            console.wait_for("all well", 30)
            console.send("second\r")
            console.wait_for(r"answers 401: the key … is not valid", 30)
            assert not [word for word in command_lines(console) if KEY in word]
            assert KEY not in console.text() and KEY.encode() not in console.output
            console.send("\x11")
            console.wait_ended()
        assert {request.headers["authorization"] for request in server.chats()} == {f"Bearer {KEY}"}
    files = [Path(folder, name) for folder, _, names in os.walk(home) for name in names]
    (sessions,) = [path for path in files if path.name == "sessions.db"]
    with sqlite3.connect(sessions) as kept:
        assert "second" in "".join(kept.iterdump())  # what was asked is there
    assert [path for path in files if path.parent.name == "logs"]
    for path in files:
        assert path == held or KEY.encode() not in path.read_bytes(), path
