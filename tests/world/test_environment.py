"""Environments as they are found: proxies of every kind, certificates that are not there, no home, no terminal."""

import asyncio
import errno
import os
import shutil
import socket
import ssl
import subprocess
import sys

import httpcore
import httpx
import pytest
from raw_server import raw_server
from remote_engine import connected

from phitui.cli.main import run
from phitui.config.remotes import RemoteSettings
from phitui.core.errors import PhituiError, UsageError
from phitui.engine.remote.endpoint import endpoint_of
from phitui.engine.remote.faults import Fault, faults_told
from phitui.engine.remote.proxies import proxy_for

FAR = "http://engine.example:8000"


def good(connection):
    connection.head()
    connection.piece("all well", "stop")
    connection.usage(5, 3)
    connection.done()


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ssl_cert_file", "ssl_cert_dir"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def told_by_ask(capsys, *arguments):
    code = run([*arguments, "ask", "hi"])
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and "defect" not in lines[0] and "Traceback" not in lines[0], lines
    return code, lines[0]


@pytest.mark.parametrize(
    ("variable", "value", "place"),
    [
        ("ALL_PROXY", "socks5://127.0.0.1:1", "127.0.0.1:1"),
        ("all_proxy", "socks5h://user:secret@127.0.0.1:1", "127.0.0.1:1"),
        ("ALL_PROXY", "socks://127.0.0.1:1/", "127.0.0.1:1"),
        ("HTTP_PROXY", "http://127.0.0.1:1", "127.0.0.1:1"),
        ("http_proxy", "127.0.0.1:1", "127.0.0.1:1"),
        ("HTTP_PROXY", "http://[::1]:1", "[::1]:1"),
    ],
)
def test_a_proxy_that_is_down_is_named(monkeypatch, capsys, variable, value, place):
    monkeypatch.setenv(variable, value)
    code, line = told_by_ask(capsys, "--engine", FAR)
    assert code == 3 and f"through the proxy {place} ({variable})" in line and "secret" not in line
    assert "NO_PROXY=engine.example" in line


@pytest.mark.parametrize(
    "value",
    ["garbage://x", "http://", "http://x:port", "socks4://127.0.0.1:1", "http://a b", "://", "http://[::1", "ü"],
)
def test_a_proxy_that_cannot_be_is_named(monkeypatch, capsys, value):
    monkeypatch.setenv("HTTP_PROXY", value)
    code, line = told_by_ask(capsys, "--engine", FAR)
    assert code == 2 and line.startswith("phitui: HTTP_PROXY ")


@pytest.mark.parametrize(
    ("no_proxy", "base", "used"),
    [
        ("localhost,[::1]", "http://a.example", True),
        ("[fd00::1]", "http://[fd00::1]:8000", False),
        ("fd00::1", "http://[fd00::1]:8000", False),
        ("[fd00::1]:8000", "http://[fd00::1]:8000", False),
        ("fd00::/8", "http://[fd00::1]:8000", False),
        ("10.0.0.0/8", "http://10.1.2.3", False),
        ("10.0.0.0/8", "http://11.1.2.3", True),
        (".example", "http://a.example", False),
        ("*.example", "http://a.example", False),
        ("example", "http://a.example", False),
        ("ample", "http://a.example", True),
        ("A.Example:80", "http://a.example:80", False),
        ("a.example:81", "http://a.example:80", True),
        ("http://a.example", "http://a.example", False),
        ("b.example, a.example", "http://a.example", False),
        ("*", "http://a.example", False),
        ("[", "http://a.example", True),
        ("[]:,,%,/", "http://a.example", True),
    ],
)
def test_no_proxy_in_every_form_in_use(no_proxy, base, used):
    for name in ("NO_PROXY", "no_proxy"):
        found = proxy_for(base, {"ALL_PROXY": "http://p:1", name: no_proxy})
        assert (found is not None) == used


async def test_a_proxy_is_gone_through_and_not_by_what_is_on_this_machine(monkeypatch):
    models = {"http://engine.example/v1/models": {"data": [{"id": "m", "owned_by": "vllm"}]}}
    with raw_server(good, models) as proxy, raw_server(good) as near:
        environ = {"HTTP_PROXY": proxy.url}
        async with connected("http://engine.example", environ) as engine:
            assert (await engine.ask())[0] == "all well"
        assert proxy.chats()[0].path == "http://engine.example/v1/chat/completions"
        before = len(proxy.requests)
        async with connected(near.url, environ) as engine:
            assert (await engine.ask())[0] == "all well"
        assert len(proxy.requests) == before


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_certificates_that_are_not_there(monkeypatch, capsys, name):
    monkeypatch.setenv(name, "/nonexistent/x.pem")
    code, line = told_by_ask(capsys, "--engine", "https://127.0.0.1:9")
    assert code == 2 and f"{name} names /nonexistent/x.pem, which is not there" in line


def test_certificates_that_are_none(monkeypatch, capsys, tmp_path):
    (tmp_path / "no.pem").write_text("none")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "no.pem"))
    code, line = told_by_ask(capsys, "--engine", "https://127.0.0.1:9")
    assert code == 2 and "SSL_CERT_FILE" in line


def everything_that_can_be_raised():
    """Every exception that httpx, httpcore, ssl, socket and os document, and some of what they stand on."""
    request = httpx.Request("GET", FAR)
    for name in sorted(dir(httpx)):
        kind = getattr(httpx, name)
        if isinstance(kind, type) and issubclass(kind, Exception):
            if issubclass(kind, httpx.HTTPStatusError):
                yield kind("x", request=request, response=httpx.Response(500))
            elif issubclass(
                kind, httpx.RequestNotRead | httpx.ResponseNotRead | httpx.StreamClosed | httpx.StreamConsumed
            ):
                yield kind()
            else:
                yield kind("x")
    yield from (getattr(httpcore, name)("x") for name in httpcore.__all__ if isinstance(getattr(httpcore, name), type)
                and issubclass(getattr(httpcore, name), Exception))  # fmt: skip
    for name in sorted(dir(ssl)):
        kind = getattr(ssl, name)
        if isinstance(kind, type) and issubclass(kind, Exception):
            yield kind(1, "x")
    yield from (socket.gaierror(-2, "x"), socket.herror(1, "x"), TimeoutError(), OSError("text only"), EOFError())
    yield from (OSError(number, os.strerror(number)) for number in errno.errorcode)
    yield from (asyncio.IncompleteReadError(b"", 5), UnicodeError("label too long"), ValueError("x"), RuntimeError("x"))
    yield ImportError("no socksio")


@pytest.mark.parametrize("proxied", [False, True])
def test_nothing_that_a_library_raises_gets_past_the_boundary(proxied):
    environ = {"ALL_PROXY": "http://p:1"} if proxied else {}
    endpoint = endpoint_of("box", RemoteSettings(url=FAR), environ)
    raised = list(everything_that_can_be_raised())
    assert len(raised) > 150
    for error in raised:
        with pytest.raises(Fault) as caught, faults_told(endpoint):
            raise error
        line = str(caught.value.error)
        assert (
            isinstance(caught.value.error, PhituiError) and line.startswith("box at engine.example")
        ) or "box:" in line
        assert "\n" not in line and len(line) < 500


@pytest.mark.parametrize("error", [KeyError("x"), TypeError("x"), AttributeError("x")])
def test_a_defect_of_ours_is_not_blamed_on_the_server(error):
    endpoint = endpoint_of("box", RemoteSettings(url=FAR), {})
    with pytest.raises(type(error)), faults_told(endpoint):
        raise error


def test_what_is_an_error_already_stays():
    endpoint = endpoint_of("box", RemoteSettings(url=FAR), {})
    with pytest.raises(UsageError), faults_told(endpoint):
        raise UsageError("x")
    with pytest.raises(asyncio.CancelledError), faults_told(endpoint):
        raise asyncio.CancelledError


_OTHER_USER = "setpriv --reuid 54321 --regid 54321 --clear-groups --inh-caps +dac_read_search"


def unknown_user(*arguments, **environ):
    """phitui as a user without an entry in the system's list and without HOME, as in many containers. It may read all:
    whose Python this is may lie in a folder of root's."""
    command = [*_OTHER_USER.split(), "--ambient-caps", "+dac_read_search"]
    if os.getuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root can become another user, and by setpriv")
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG")}
    return subprocess.run(
        [*command, sys.executable, "-m", "phitui", *arguments],
        env={**kept, **environ}, cwd="/", capture_output=True, text=True,
    )  # fmt: skip


def test_no_home_is_said_with_what_to_set():
    done = unknown_user("model", "list")
    assert done.returncode == 2
    assert "HOME is not set, and the system does not know user 54321" in done.stderr and "PHITUI_HOME" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_home_of_phitui_is_enough(tmp_path):
    for folder in (tmp_path, *tmp_path.parents[:-2]):
        folder.chmod(0o755)
    home = tmp_path / "home"
    home.mkdir(exist_ok=True)
    os.chown(home, 54321, 54321)
    done = unknown_user("model", "list", PHITUI_HOME=str(home))
    assert (done.returncode, "defect" in done.stderr) == (0, False), done


def test_the_console_is_shown_where_stderr_is_a_file(tmp_path):
    """Textual draws on the standard error: with 2>log the screen would go into that file."""
    main, side = os.openpty()
    errors = tmp_path / "errors"
    environ = {**os.environ, "TERM": "xterm-256color", "HOME": str(tmp_path)}
    with errors.open("wb") as file:
        console = subprocess.Popen(
            [sys.executable, "-m", "phitui", "monitor"],
            stdin=side, stdout=side, stderr=file, env=environ, start_new_session=True,
        )  # fmt: skip
        os.close(side)
        shown = b""
        try:
            while b"\x1b[?1049h" not in shown or len(shown) < 1000:
                shown += os.read(main, 65536)
        finally:
            console.kill()
            console.wait()
            os.close(main)
    assert b"\x1b" not in errors.read_bytes()
