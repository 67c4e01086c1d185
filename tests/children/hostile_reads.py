"""Reads a file that cannot be read as what it should be, with each of phitui's readers: prints what each said."""

import os
import resource
import sys
from pathlib import Path

from phitui.config.layers import load_config
from phitui.config.remotes import RemoteSettings
from phitui.core.errors import PhituiError
from phitui.engine.remote.endpoint import endpoint_of
from phitui.engine.remote.transport import _tls
from phitui.hardware.recording import Recorder, Recording
from phitui.models.convert.checkpoint import read_whole
from phitui.models.convert.tokenizer import read_json
from phitui.models.manifest import read_manifest
from phitui.storage.journal import read_journal
from phitui.storage.presets import Presets
from phitui.storage.profiles import read_profile
from phitui.storage.prompts import PromptStore
from phitui.storage.sessions.session_transfer import read_file
from phitui.storage.tunings import TUNINGS
from phitui.tui.terminal import external_editor
from phitui.tui.themes import read_theme
from phitui.workbench.bench.result import read_result
from phitui.workbench.chat.attachments import read_attachment

GB = 1 << 30


def make(kind, path):
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    elif kind == "large":
        with path.open("wb") as file:
            file.truncate(3 * GB)
    else:
        path.write_bytes(b"[" * 100_000)


def named(folder, kind, name):
    make(kind, folder / name)
    return folder / name


def readers(folder, kind):
    def path(name):
        return named(folder, kind, name)

    key = RemoteSettings(url="http://127.0.0.1", api_key_file=str(path("key")))
    if kind != "device":
        (folder / "key").chmod(0o600)
    authority = endpoint_of("box", RemoteSettings(url="https://127.0.0.1", ca_file=str(path("ca"))), {})
    return {
        "config": lambda: load_config(path("config.toml")),
        "theme": lambda: read_theme(path("theme.toml")),
        "presets": Presets(path("presets.json")).all,
        "profiles": lambda: read_profile(path("profiles.json"), "key"),
        "tunings": lambda: TUNINGS.read(path("tunings.json").parent),
        "prompts": lambda: PromptStore(path("prompts.jsonl").parent, 10).history(),
        "draft": lambda: PromptStore(path("draft.txt").parent, 10).draft(),
        "session": lambda: read_file(path("session.json")),
        "manifest": lambda: read_manifest(path("phitui.json").parent),
        "bench": lambda: read_result(path("bench.json")),
        "attachment": lambda: read_attachment(path("attachment"), 1000),
        "key": lambda: endpoint_of("box", key, {}),
        "authority": lambda: _tls(authority),
        "editor": lambda: external_editor._read(path("prompt.md")),
        "json": lambda: read_json(path("tokenizer_config.json")),
        "whole": lambda: read_whole(path("tokenizer.json")),
        "journal": lambda: list(read_journal(path("out.journal"))),
        "record": lambda: Recorder(path("record.jsonl")),
        **({"replay": lambda: Recording(path("replay.jsonl"))} if kind != "large" else {}),  # it may well be so long
    }


def main(folder, kind):
    for name, read in readers(folder, kind).items():
        print(name, end=" ", flush=True)
        try:
            said = str(read())[-200:]
        except (PhituiError, OSError) as error:
            said = f"refused: {error}"
        print(" ".join(said.split()), flush=True)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (2 * GB, 2 * GB))
    main(Path(sys.argv[1]), sys.argv[2])
