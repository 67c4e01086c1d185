"""Other machines' exporters on the loopback: alive, dying, hanging, dripping, lying. The local side never waits."""

import threading
import time
from contextlib import contextmanager

import pytest
from exporter_texts import dcgm, node, nvitop
from raw_server import raw_server

from phitui.config.remotes import HostSettings
from phitui.core.errors import PhituiError
from phitui.workbench.telemetry.hosts import HostWatch, ask_once

KEY = "sk-0123456789-very-secret"
TEXT = "text/plain; version=0.0.4"


def sends(text):
    return lambda connection: connection.reply(200, text, TEXT)


@contextmanager
def exporter(answer):
    """A server whose /metrics is `answer`, a function of the connection or a text."""
    with raw_server(lambda c: None, {"/metrics": answer if callable(answer) else sends(answer)}) as server:
        yield server


@contextmanager
def watching(hosts, environ=None, interval_s=None):
    watch = HostWatch(hosts, interval_s, environ or {})
    watch.start()
    try:
        yield watch
    finally:
        watch.stop()


def until(check, timeout_s=60):
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if found := check():
            return found
        time.sleep(0.01)
    raise AssertionError("it did not come")


def quick(url, **more):
    return HostSettings(url=url, **{"interval_s": 0.2, "timeout_s": 20, **more})


def test_two_hosts_side_by_side():
    with exporter(dcgm(gpus=2)) as one, exporter(nvitop()) as two:
        with watching({"gpu1": quick(one.url), "gpu2": quick(f"{two.url}/metrics")}) as watch:
            watch.wait(1)
            first, second = watch.latest()
        assert (first.name, first.state, len(first.devices)) == ("gpu1", "fresh", 2)
        assert (second.name, second.state, second.devices[0].name) == ("gpu2", "fresh", "NVIDIA GeForce RTX 4090")
        assert {device.host for device in first.devices} == {"gpu1"}


def test_one_that_dies_is_stale_and_then_comes_back():
    alive = threading.Event()
    alive.set()

    def answer(connection):
        sends(dcgm())(connection) if alive.is_set() else connection.reset()

    with exporter(answer) as server, watching({"gpu1": quick(server.url)}) as watch:
        watch.wait(1)
        assert watch.latest()[0].state == "fresh"
        alive.clear()
        stale = until(lambda: next((host for host in watch.latest() if host.state == "stale"), None))
        assert stale.age_s > 0.6 and "gpu1 at 127.0.0.1" in stale.reason
        (card,) = stale.devices
        assert card.util_pct == 41 and card.stale_s == stale.age_s and card.stale_why == stale.reason and not card.lost
        alive.set()
        assert until(lambda: watch.latest()[0].state == "fresh")


def test_one_that_is_silent_for_long_has_no_figures_any_more(monkeypatch):
    monkeypatch.setattr("phitui.workbench.telemetry.hosts._LOST_S", 0.1)
    monkeypatch.setattr("phitui.workbench.telemetry.hosts._LOST_INTERVALS", 4)
    answers = [sends(dcgm())]
    dying = exporter(lambda c: answers.pop()(c) if answers else c.reply(503))
    with dying as server, watching({"gpu1": quick(server.url)}) as watch:
        watch.wait(1)
        lost = until(lambda: next((host for host in watch.latest() if host.state == "lost"), None))
    (card,) = lost.devices
    assert card.name == "NVIDIA H100 80GB HBM3" and card.util_pct is None and card.lost
    assert "answers 503" in card.unavailable["util_pct"]


def drips(connection):
    connection.head(200, TEXT)
    while not connection.closed.wait(0.05):
        connection.send(b"#")


def endless_line(connection):
    connection.head(200, TEXT)
    while not connection.closed.is_set():
        connection.send(b"x" * 65536)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (lambda c: c.hang(), "no whole answer within 0.5 s"),
        (drips, "no whole answer within 0.5 s"),
        (lambda c: c.reset(), "the connection was lost"),
        (lambda c: c.reply(500, b"boom \x1b[31m"), "answers 500: boom"),
        (lambda c: c.reply(404), "answers 404"),
        (lambda c: c.reply(401), "answers 401"),
        (sends(b"<html>hello</html>"), "sends no metrics of dcgm-exporter"),
        (sends(b"vllm:num_requests_running 1\n"), "but vllm:num_requests_running"),
        (sends(b'node_load1{a="\xff\n'), "a line that is no sample"),
    ],
)
def test_one_that_never_tells_anything_is_lost_with_the_reason(answer, why):
    limit_s = 0.5 if "within 0.5 s" in why else 20
    with exporter(answer) as server, watching({"gpu1": quick(server.url, timeout_s=limit_s)}) as watch:
        watch.wait(1)
        (host,) = watch.latest()
    assert (host.state, host.age_s) == ("lost", None)
    assert why in host.reason and host.reason.isprintable()
    assert host.devices[0].kind == "host" and host.devices[0].host == "gpu1"


def test_an_endless_line_is_cut_off():
    with exporter(endless_line) as server, watching({"gpu1": quick(server.url, timeout_s=20)}) as watch:
        watch.wait(1)
        assert "more than 4,000,000 bytes" in watch.latest()[0].reason


def test_a_hanging_host_keeps_no_other_and_nobody_waits():
    with exporter(lambda c: c.hang()) as dead, exporter(node(1, 1)) as alive:
        hosts = {"dead": quick(dead.url, timeout_s=30), "alive": quick(alive.url)}
        with watching(hosts) as watch:
            until(lambda: watch.latest()[1].state == "fresh")
            begun = time.monotonic()
            states = [host.state for host in watch.latest()]
            assert time.monotonic() - begun < 15
            assert states == ["lost", "fresh"]
            begun = time.monotonic()
        assert time.monotonic() - begun < 15


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_does_not_carry_the_key_to_another_host(status):
    with exporter(dcgm()) as thief:
        with exporter(lambda c: c.reply(status, Location=f"{thief.url}/metrics")) as server:
            with watching({"gpu1": quick(server.url, api_key_env="GPU_KEY")}, {"GPU_KEY": KEY}) as watch:
                watch.wait(1)
                reason = watch.latest()[0].reason
            assert "redirects to" in reason and "not followed" in reason
            assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
        assert thief.requests == []


def test_settings_that_are_wrong_are_told_and_nothing_is_asked():
    plain = HostSettings(url="http://10.0.0.7:9400", api_key_env="GPU_KEY")
    with watching({"a": plain, "b": HostSettings()}, {"GPU_KEY": KEY}) as watch:
        watch.wait(3)
        first, second = watch.latest()
    assert "unencrypted" in first.reason and KEY not in first.reason
    assert "hosts.b has no url" in second.reason


def test_without_hosts_there_is_no_thread():
    with watching({}) as watch:
        assert watch.latest() == []
        assert "phitui-hosts" not in {thread.name for thread in threading.enumerate()}


async def test_asked_once():
    with exporter(dcgm()) as server:
        told = await ask_once("gpu1", quick(server.url), {})
        assert told.kinds == ("dcgm",)
    assert isinstance(await ask_once("gpu1", quick(server.url), {}), PhituiError)
