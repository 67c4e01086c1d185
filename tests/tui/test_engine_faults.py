"""Every fault of a server in the real console: one clear line, the text that came is kept, the prompt is back in the
input, and the next one is answered."""

import ssl

import pytest
import trustme
from raw_server import raw_server
from test_engines import good, notes, texts, until

from phitui.config.layers import load_config
from phitui.tui.app.app import PhituiApp
from phitui.tui.widgets.prompt import Prompt
from phitui.workbench.chat.chat import State

TEXT = "half an answer"
SHORT = {"retries": 0, "connect_timeout_s": 5.0, "first_token_timeout_s": 1.0, "idle_timeout_s": 0.5}


def huge(connection):
    connection.send(b'data: {"choices": [{"delta": {"content": "')
    for _ in range(160):
        connection.send(b"x" * 65536)


def pings(connection):
    while not connection.closed.wait(0.05):
        connection.send(b": ping\n\n")


IN_THE_ANSWER = {
    "killed": (lambda c: c.reset(), "connection was lost"),
    "closed": (lambda c: c.socket.close(), "ended in the middle of the answer"),
    "half an event": (lambda c: c.send(b'data: {"choices": [{"del'), "ended in the middle of the answer"),
    "wrong JSON": (lambda c: c.event(b'{"choices": [}'), "not part of an answer"),
    "an error event": (
        lambda c: c.event({"error": "out of \x1b[31mmemory\n"}),
        "during the answer: out of memory",
    ),
    "10 MB": (huge, "an event of more than 1,000,000 bytes"),
    "a hang": (lambda c: c.hang(), "no token for 0.5 s"),
    "a slow drip": (pings, "no token for 0.5 s"),
}
BEFORE_IT = {
    "killed": (lambda c: c.reset(), "connection was lost"),
    "401": (lambda c: c.reply(401, b'{"error": "no key"}'), "answers 401: no key"),
    "404": (lambda c: c.reply(404, b'{"error": {"message": "no model m"}}'), "answers 404: no model m"),
    "429": (lambda c: c.reply(429, b"slow down"), "answers 429: slow down"),
    "500": (lambda c: c.reply(500, b"<html>oops</html>"), "answers 500"),
    "503": (lambda c: c.reply(503, b'{"message": "no worker"}'), "answers 503: no worker"),
    "a page": (lambda c: c.reply(200, b"<html></html>", "text/html"), "a web page in the place of an answer"),
    "a hang": (lambda c: c.hang(), "no first token within 1 s"),
    "a slow drip": (lambda c: (c.head(), pings(c)), "no first token within 1 s"),
}
FAULTS = {f"{name}, in the answer": (fault, words, TEXT) for name, (fault, words) in IN_THE_ANSWER.items()}
FAULTS |= {f"{name}, before it": (fault, words, "") for name, (fault, words) in BEFORE_IT.items()}


def app_on(*engines):
    found = {f"box{number}": SHORT | engine for number, engine in enumerate(engines)}
    return PhituiApp(load_config(overrides={"engine": {"name": "box0"}, "engines": found}))


async def ended(pilot, count):
    """The chat's last exchange, once there are so many and it is over."""
    chat = pilot.app.console_screen.chat
    await until(pilot, lambda: len(chat.exchanges) == count and chat.exchanges[-1].state.over)
    return chat.exchanges[-1]


async def test_faults_of_answers(home):
    plan = []

    def chat(connection):
        if not plan:
            good(connection)
            return
        fault, text = plan.pop()
        if text:
            connection.head()
            connection.piece(text)
        fault(connection)

    with raw_server(chat) as server:
        app = app_on({"url": server.url})
        async with app.run_test(size=(120, 40)) as pilot:
            await until(pilot, lambda: app.workbench.engine.loaded is not None)
            prompt = app.console_screen.query_one(Prompt)
            await pilot.press(*"hello")
            for count, (name, (fault, words, text)) in enumerate(FAULTS.items()):
                plan.append((fault, text))
                await pilot.press("enter")
                broken = await ended(pilot, 2 * count + 1)
                assert (broken.state, broken.text) == (State.BROKEN, text), name
                await until(pilot, lambda words=words: words in texts(app, ".facts")[-1])
                line = texts(app, ".facts")[-1]
                assert "\n" not in line and "\x1b" not in line and len(line) < 300, name
                assert ("what came is kept" in line) == bool(text), name
                await until(pilot, lambda: prompt.text == "hello")
                await pilot.press("enter")
                answered = await ended(pilot, 2 * count + 2)
                assert (answered.state, answered.text) == (State.DONE, "all well"), name
                await pilot.press(*"hello")


def certificate_of_nobodys():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.mark.parametrize("start_there", [False, True], ids=["changed to", "begun with"])
async def test_faults_of_connections(home, start_there):
    """A change to such a server keeps the one before; a start with it leaves a console that can change to another."""
    with raw_server(good) as gone:
        away = gone.url
    silent = {"/v1/models": lambda c: c.hang()}
    latin = {"/v1/models": lambda c: c.reply(200, b'{"data": [{"id": "caf\xe9"}]}')}
    with (
        raw_server(good) as server,
        raw_server(good, tls=certificate_of_nobodys()) as untrusted,
        raw_server(good, gets=silent) as hanging,
        raw_server(good, gets=latin) as wrong,
    ):
        faults = [
            ({"url": away}, "cannot be reached"),
            ({"url": untrusted.url}, "its certificate cannot be trusted"),
            ({"url": server.url.replace("http:", "https:")}, "no TLS connection"),
            ({"url": "http://no-such-host.invalid"}, "is not known"),
            ({"url": hanging.url, "connect_timeout_s": 0.5}, "in time"),
            ({"url": wrong.url}, "not an engine that phitui knows"),
        ]
        faults = faults[:1] if start_there else faults
        engines = [{"url": server.url}, *(engine for engine, _ in faults)]
        app = app_on(*(reversed(engines) if start_there else engines))
        async with app.run_test(size=(120, 40)) as pilot:
            for number, (_, words) in enumerate(faults, 1):
                if not start_there:
                    await until(pilot, lambda: app.workbench.engine.loaded is not None)
                    app.engines.switch(f"box{number}")
                await until(pilot, lambda words=words: words in notes(app))
                if start_there:
                    app.engines.switch("box1")
                    await until(pilot, lambda: app.workbench.engine.loaded is not None)
                await pilot.press(*"hello", "enter")
                exchange = await ended(pilot, number)
                assert (exchange.state, exchange.text) == (State.DONE, "all well"), words
            assert all("\n" not in note for note in texts(app, ".note"))
