"""Models whose chat template or tokenizer is hostile or odd: refused with the reason, and the engine goes on."""

import json
import os
import resource
import subprocess
import sys
import time
from contextlib import asynccontextmanager

import psutil
import pytest
from support.waiting import until, until_in_thread

from phitui.core.errors import PhituiError, UsageError
from phitui.engine.local.client import EngineClient
from phitui.engine.protocol.api import Finished, Load, Loaded, Rejected, Sampling, Turn
from phitui.models.chat.template_process import TemplateProcess
from phitui.models.chat.tokenizer import ChatTokenizer

GREEDY = Sampling(max_tokens=4, temperature=0.0, top_k=0, top_p=1.0, repetition_penalty=1.0)
CHAT = [{"role": "user", "content": "hello"}]
SAYS = "{% for message in messages %}{{ message.content }}{% endfor %}"
LOOP = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"


@pytest.mark.parametrize(
    ("odd", "reason"),
    [
        (LOOP, "took more than 1 s"),
        ("{{ lipsum(n=100000) }}", "took more than 1 s"),
        ("{% set n = messages|length * 999999999 %}{{ n ** n }}", "took more than 1 s"),
        ("{{ 'x' * 10**10 }}", "too much memory"),
        ("{{ 'a'|center(2000000000) }}", "too much memory"),
        ("{{ '{:>1000000000}'.format(1) }}", "too much memory"),
        ("{{ (range(99999)|list) | map('string') | join('x' * 100000) }}", "too much memory"),
        ("{{ '0123456789' * 5000000 }}", "makes 50,000,005 bytes"),
        ("{{ '%1000000000d' % 1 }}", "too much memory"),
        ("{{ range(10**9)|list }}", "Range too big"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "recursion"),
        ("{{ 1 / 0 }}", "division by zero"),
        ("{{ strftime_now(5) }}", "must be str"),
        ("{{ '\\ud800' }}", "writes what is no text"),
        ("{% include '/etc/passwd' %}", "no loader"),
    ],
)
def test_a_template_is_given_up(odd, reason):
    with TemplateProcess(SAYS + odd, {}, limit_s=1.0 if "1 s" in reason else 30) as template:
        template.compile()
        started = time.monotonic()
        with pytest.raises(UsageError, match=reason):
            template.render(CHAT)
        assert time.monotonic() - started < 35


@pytest.mark.parametrize("text", ["{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}", "{% if a %}" * 2000])
def test_a_template_whose_compilation_is_odd(text):
    with TemplateProcess(text, {}) as template, pytest.raises(PhituiError, match="the chat template is damaged"):
        template.compile()


def test_strftime_with_an_absurd_width_is_nothing_worse_than_odd():
    with TemplateProcess(SAYS + "{{ strftime_now('%9999999999d') }}", {}) as template:
        assert template.render(CHAT).startswith("hello")


def test_after_one_that_was_given_up_the_next_chat_has_a_process_of_its_own():
    with TemplateProcess("{% if messages[0].content == 'loop' %}" + LOOP + "{% endif %}" + SAYS, {}, 0.5) as template:
        assert template.render(CHAT) == "hello"
        first = psutil.Process(template.pid)
        with pytest.raises(UsageError, match="given up"):
            template.render([{"role": "user", "content": "loop"}])
        assert not first.is_running() and template.pid is None
        assert template.render(CHAT) == "hello"
    assert template.pid is None


def test_it_ends_with_whoever_wanted_it():
    template = TemplateProcess(SAYS, {})
    template.compile()
    process = psutil.Process(template.pid)
    template._socket.close()  # as the kernel does for one that was killed
    until_in_thread(lambda: process.status() == psutil.STATUS_ZOMBIE)
    template.close()


def test_a_template_that_is_killed_is_one_line():
    with TemplateProcess(SAYS, {}) as template:
        template.compile()
        os.kill(template.pid, 9)
        with pytest.raises(UsageError, match="ended its process"):
            template.render(CHAT)
        assert template.render(CHAT) == "hello"


def test_a_tighter_limit_of_the_users_stays():
    tight = 400 << 20
    code = f"import sys; sys.path[:] = {sys.path!r}\nfrom world.test_hostile_models import *\n"
    code += "with TemplateProcess(SAYS, {}) as template: print(template.render(CHAT))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (tight, tight)),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout == "hello\n", done.stderr


def test_it_has_no_keys(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    with TemplateProcess(SAYS, {}) as template:
        template.compile()
        assert "OPENAI_API_KEY" not in psutil.Process(template.pid).environ()


def tokenizer(**changes):
    """The text of a small tokenizer.json."""
    end = {"id": 0, "content": "<|end|>", "special": True}
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    model = {"type": "BPE", "vocab": {"<|end|>": 0, "a": 1, "b": 2, "ab": 3, "é": 4}, "merges": [["a", "b"]]}
    raw = {"version": "1.0", "added_tokens": [end | flags], "model": model | changes.pop("model", {})}
    return json.dumps(raw | changes).encode()


# tokenizers' Rust code panics at each of these: what comes out of it is no Exception.
PANICS = {
    "make": [
        tokenizer(model={"continuing_subword_prefix": "ééééé"}),
        tokenizer(normalizer={"type": "Precompiled", "precompiled_charsmap": "AAAA"}),
    ],
    "encode": [
        tokenizer(normalizer={"type": "Precompiled", "precompiled_charsmap": "BAAAAP////8="}),
        tokenizer(pre_tokenizer={"type": "FixedLength", "length": 0}),
        tokenizer(
            pre_tokenizer={
                "type": "Split", "pattern": {"Regex": "(x+x+)+y"}, "behavior": "Isolated", "invert": False
            }
        ),
    ],
    "decode": [
        tokenizer(decoder={"type": "Strip", "content": "a", "start": 99, "stop": 99}),
        tokenizer(decoder={"type": "Strip", "content": "a", "start": 1, "stop": 1}),
    ],
}  # fmt: skip


@pytest.mark.parametrize("text", PANICS["make"], ids=["prefix", "charsmap"])
def test_a_tokenizer_that_panics_when_it_is_made(text):
    with pytest.raises(PhituiError, match="tokenizer that is damaged"):
        ChatTokenizer(text, ["<|end|>"])


@pytest.mark.parametrize("text", PANICS["encode"], ids=["charsmap", "length", "expression"])
def test_a_tokenizer_that_panics_at_a_text(text):
    made = ChatTokenizer(text, ["<|end|>"])
    with pytest.raises(UsageError, match="makes nothing of this text"):
        made.encode("ab é " + "x" * 40)


@pytest.mark.parametrize("text", PANICS["decode"], ids=["start", "end"])
def test_a_tokenizer_that_panics_at_tokens(text):
    made = ChatTokenizer(text, ["<|end|>"])
    with pytest.raises(PhituiError, match="makes no text of its tokens"):
        made.decode([1, 2, 3])


@asynccontextmanager
async def engine(folder, tmp_path):
    """An engine on the model in `folder`, and what it says."""
    events = []
    client = EngineClient(tmp_path / "engine.log", events.append)
    await client.load(Load(str(folder), "cpu", "auto", 1, str(tmp_path / "profiles.json"), 0.0, 1))
    await until(lambda: any(isinstance(event, Loaded) for event in events))
    try:
        yield client, events
    finally:
        await client.stop()


async def last_of(client, events, text):
    number = await client.generate([Turn("user", text)], GREEDY)
    ends = lambda: [e for e in events if isinstance(e, Finished | Rejected) and e.id == number]  # noqa: E731
    await until(ends)
    return ends()[0]


def changed_model(source, target, changes):
    """A model's folder in which JSON files have other values: by the file's name."""
    target.mkdir()
    for path in source.iterdir():
        (target / path.name).symlink_to(path)
    for name, values in changes.items():
        content = json.loads((source / name).read_text()) | values
        (target / name).unlink()
        (target / name).write_text(json.dumps(content))
    return target


async def test_the_engine_goes_on_after_a_template_that_loops(tiny_folder, tmp_path):
    changes = {"phitui.json": {"chat_template": "{% if 'loop' in messages[0].content %}" + LOOP + "{% endif %}" + SAYS}}
    async with engine(changed_model(tiny_folder, tmp_path / "m", changes), tmp_path) as (client, events):
        pid = client.pid
        assert isinstance(await last_of(client, events, "hello"), Finished)
        refused = await last_of(client, events, "loop")
        assert isinstance(refused, Rejected) and "took more than 5 s" in refused.failure.message
        assert isinstance(await last_of(client, events, "hello again"), Finished)
        assert client.pid == pid
        family = psutil.Process(pid).children(recursive=True)
        assert len(family) == 1
    gone, alive = psutil.wait_procs(family, 5)
    assert gone and not alive


async def test_the_engine_goes_on_after_a_tokenizer_that_panics(tiny_folder, tmp_path):
    split = {"type": "Split", "pattern": {"Regex": "(x+x+)+y"}, "behavior": "Isolated", "invert": False}
    folder = changed_model(tiny_folder, tmp_path / "m", {"tokenizer.json": {"pre_tokenizer": split}})
    manifest = json.loads((folder / "phitui.json").read_text())
    manifest["files"]["tokenizer.json"]["bytes"] = (folder / "tokenizer.json").stat().st_size
    (folder / "phitui.json").unlink()
    (folder / "phitui.json").write_text(json.dumps(manifest))
    async with engine(folder, tmp_path) as (client, events):
        pid = client.pid
        refused = await last_of(client, events, "x" * 60)
        assert isinstance(refused, Rejected) and "makes nothing of this text" in refused.failure.message
        assert isinstance(await last_of(client, events, "hello"), Finished)
        assert client.pid == pid
