"""What a child process inherits: no keys, and no right to make files that others can write."""

import os

import psutil
from support.waiting import until

from phitui.cli import main
from phitui.core.ipc.messages import Failure, Progress
from phitui.core.ipc.parent import Child

SECRETS = {
    "OPENAI_API_KEY": "a", "MY_SERVER_KEY": "b", "HF_TOKEN": "c", "AWS_SECRET_ACCESS_KEY": "d", "DB_PASSWORD": "e",
    "GOOGLE_APPLICATION_CREDENTIALS": "f", "api_key": "g", "PIP_TOKEN": "h",
}  # fmt: skip
OTHERS = {"KEYBOARD": "de", "TOKENIZERS_PARALLELISM": "false", "LD_LIBRARY_PATH": "/opt/cuda", "MONKEYS": "3"}


async def inherited(tmp_path, monkeypatch, needed):
    for name, value in {**SECRETS, **OTHERS}.items():
        monkeypatch.setenv(name, value)
    child = await Child.start(
        "children.echo_child", Progress | Failure, tmp_path / "child.log", needed, {"EXTRA_KEY": "x"}
    )
    try:
        process = psutil.Process(child.pid)
        await until(lambda: "echo_child" in " ".join(process.cmdline()))  # before that it is a copy of ours
        names = process.environ().keys()
    finally:
        await child.stop(grace_s=1)
    return set(names)


async def test_the_engine_gets_no_keys(tmp_path, monkeypatch):
    names = await inherited(tmp_path, monkeypatch, ())
    assert names & SECRETS.keys() == set()
    assert OTHERS.keys() | {"EXTRA_KEY", "PATH"} <= names


async def test_preparing_a_model_has_the_hubs_and_pips(tmp_path, monkeypatch):
    names = await inherited(tmp_path, monkeypatch, ("HF_", "PIP_"))
    assert names & SECRETS.keys() == {"HF_TOKEN", "PIP_TOKEN"}


def test_nothing_that_is_made_can_be_written_by_others(capsys):
    before = os.umask(0)
    try:
        assert main.run(["keys"]) == 0
        assert os.umask(0) == 0o022
    finally:
        os.umask(before)
