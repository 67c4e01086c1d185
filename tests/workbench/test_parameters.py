"""The parameters of a chat: from text, within the limits of config.toml, kept with the session."""

import asyncio

import pytest

from phitui.config.layers import load_config
from phitui.core.errors import UsageError
from phitui.engine.protocol.api import Delta, Finished, Loaded, Remote, Started, Timings, Usage
from phitui.engine.protocol.capabilities import PARAMETERS
from phitui.storage.sessions.session_transfer import from_json, to_json
from phitui.storage.sessions.sessions import SessionStore
from phitui.workbench.chat.chat import Chat
from phitui.workbench.chat.parameters import Parameters, limits, parse, shown, split_stops
from phitui.workbench.chat.session_library import SessionLibrary
from phitui.workbench.start import sampling

LOADED = Loaded("tiny", "Tiny", "cpu", "int8", 1, 512, 1000, 0.1, "")


class Engine:
    """Answers each prompt at once, when the test says so; keeps what it was asked with."""

    loaded = LOADED

    def __init__(self):
        self.asked = []

    async def generate(self, turns, sampling, answers=1):
        self.asked.append((turns, sampling))
        return len(self.asked)


class Room:
    def __init__(self, tmp_path, **generation):
        config = load_config(overrides={"generation": generation}).generation
        self.engine, self.said = Engine(), []
        self.chat = Chat(self.engine, sampling(config), config.system, lambda exchange: None)
        self.parameters = Parameters(config, self.chat)
        self.environ = {"PHITUI_HOME": str(tmp_path / "home")}
        say = lambda text, kind: self.said.append(text)  # noqa: E731
        self.sessions = SessionLibrary(self.chat, config.system, say, self.environ, self.parameters)

    async def answer(self, prompt):
        self.chat.submit(prompt)
        await asyncio.sleep(0.01)  # the chat's own tasks
        number = len(self.engine.asked)
        self.chat.handle(Started(number, 5))
        self.chat.handle(Delta(number, "text", 3))
        self.chat.handle(Finished(number, "stop", Usage(5, 3), Timings(1.0, 2.0, 5.0, 600.0)))


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("temperature", " 0.7 ", 0.7),
        ("top-k", "40", 40),
        ("TOP_P", "1", 1.0),
        ("repetition_penalty", "1.1", 1.1),
        ("max_tokens", "64", 64),
        ("stop", r"END, \n\nUser:, a\,b", ("END", "\n\nUser:", "a,b")),
        ("seed", "7", 7),
    ],
)
async def test_a_value_holds_from_the_next_prompt_on(tmp_path, name, text, value):
    room = Room(tmp_path)
    await room.answer("before")
    line = room.parameters.set(name, text)
    await room.answer("after")
    key = name.lower().replace("-", "_")
    before, after = (getattr(draw, key) for _, draw in room.engine.asked)
    assert before == getattr(sampling(room.parameters.config), key) and after == value
    assert room.parameters.own == {key: value}
    assert line.startswith(f"{key} ") and "(config.toml: " in line
    room.parameters.reset(name)
    assert room.parameters.own == {} and room.chat.sampling == sampling(room.parameters.config)
    await room.sessions.close()


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("temperature", "hot", 'temperature: expected a number from 0 to 5, got "hot"'),
        ("temperature", "nan", "temperature: expected a number from 0 to 5, got nan"),
        ("temperature", "", 'temperature: expected a number from 0 to 5, got ""'),
        ("top_k", "0", "top_k: expected a whole number from 1 to 8192, got 0"),
        ("top_p", "9" * 200, "top_p: expected a number over 0, at most 1, got"),
        ("stop", ",".join("abcdefghijklmnopq"), "stop: expected a list of at most 16 strings of 1 to 200 characters"),
        ("stop", "\ud800", "stop: this is not valid UTF-8"),
        ("temprature", "1", "temprature: no such parameter. Did you mean temperature?"),
        ("\x1b[2Jzzzz", "1", "zzzz: no such parameter. There is temperature, top_k"),
    ],
)
async def test_what_is_no_value_is_refused_with_the_limits_and_nothing_changes(tmp_path, name, text, said):
    room = Room(tmp_path)
    with pytest.raises(UsageError) as refused:
        room.parameters.set(name, text)
    assert str(refused.value).startswith(said)
    assert room.parameters.own == {}


def test_the_limits_that_are_shown_are_those_of_the_configuration():
    assert [limits(name) for name in PARAMETERS] == [
        "0 to 5", "1 to 8192", "over 0, at most 1", "over 0, at most 10", "1 to 1048576",
        r"comma-separated; \n: line end", "-1 to 2147483647",
    ]  # fmt: skip


@pytest.mark.parametrize("stops", [(), ("a",), ("a,b", "\\n", "\n", "c\\"), ("\t<|end|>", ",")])
def test_stop_strings_can_be_typed_as_they_are_shown(stops):
    assert tuple(split_stops(shown(stops))) == stops
    assert tuple(parse("stop", shown(stops))) == stops


def test_what_the_engine_does_not_honour_is_not_taken(tmp_path):
    room = Room(tmp_path)
    with pytest.raises(UsageError, match="Tiny ignores seed"):
        room.parameters.set("seed", "1", LOADED)
    assert "seed" not in room.parameters.offered(LOADED)
    remote = Remote("box", "box:1", "TGI", "m", supported_parameters=("temperature", "seed"))
    loaded = Loaded("m", "M", "remote", "", 0, None, 0, 0.1, "", remote=remote)
    assert room.parameters.offered(loaded) == ("temperature", "seed")
    room.parameters.set("seed", "1", loaded)
    with pytest.raises(UsageError, match="It takes temperature, seed"):
        room.parameters.set("top_k", "1", loaded)


async def test_they_are_kept_with_the_session_and_a_new_chat_begins_as_configured(tmp_path):
    room = Room(tmp_path, system="be brief")
    room.parameters.set("temperature", "0.9")  # before anything of the chat is kept
    await room.answer("one")
    await room.sessions.recorder.flush()
    room.parameters.set("stop", "END")  # and after
    room.parameters.set_system("be long")
    await room.sessions.recorder.flush()
    session = room.sessions.session
    room.sessions.new_chat()
    assert room.parameters.own == {} and room.chat.system == "be brief"
    await room.sessions.close()

    other = Room(tmp_path, system="be brief", max_tokens=99)
    await other.sessions.resume(session)
    assert other.parameters.own == {"temperature": 0.9, "stop": ("END",), "system": "be long"}
    await other.answer("two")
    turns, draw = other.engine.asked[-1]
    assert (turns[0].content, draw.temperature, draw.stop, draw.max_tokens) == ("be long", 0.9, ("END",), 99)
    other.parameters.reset()
    await other.sessions.recorder.flush()
    other.sessions.new_chat()
    await other.sessions.resume(session)
    assert other.parameters.own == {} and other.chat.system == "be brief"
    await other.sessions.close()


async def test_a_queued_prompt_keeps_what_it_was_sent_with(tmp_path):
    room = Room(tmp_path)
    room.chat.submit("first")
    room.chat.submit("queued")
    room.parameters.set("temperature", "2")
    await asyncio.sleep(0.01)
    room.chat.handle(Finished(1, "stop", Usage(5, 3), Timings(1.0, 2.0, 5.0, 600.0)))
    await asyncio.sleep(0.01)
    assert [draw.temperature for _, draw in room.engine.asked] == [0.2, 0.2]
    await room.sessions.close()


async def test_what_cannot_be_taken_any_more_is_told_and_the_rest_holds(tmp_path):
    store = SessionStore(tmp_path / "home" / "sessions.db") if (tmp_path / "home").mkdir() is None else None
    session, _ = store.insert("t", "", 1e9, [], None, '{"temperature": 99, "top_k": 3, "gone": 1}')
    broken, _ = store.insert("t", "", 1e9, [], None, "{not json")
    store.close()
    room = Room(tmp_path)
    await room.sessions.resume(session)
    assert room.parameters.own == {"top_k": 3}
    assert "temperature: expected a number from 0 to 5, got 99" in room.said[-1] and "gone: no such" in room.said[-1]
    await room.sessions.resume(broken)
    assert room.parameters.own == {}
    await room.sessions.close()


def test_they_go_through_an_exported_file_and_are_checked_there(tmp_path):
    store = SessionStore(tmp_path / "sessions.db")
    session, _ = store.insert("t", "s", 1e9, [], None, '{"temperature":0.9,"stop":["a"]}')
    data = to_json(store.load(session))
    store.close()
    assert from_json(data, "x").parameters == {"temperature": 0.9, "stop": ("a",)}
    with pytest.raises(UsageError, match=r"x: generation.temperature: expected a number from 0 to 5, got 9.9"):
        from_json(data.replace(b"0.9", b"9.9"), "x")
