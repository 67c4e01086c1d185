"""What the tests of screens need: a wait that holds on a busy machine, and pictures that are taken after it."""

import pytest
from support.resting import at_rest, handled
from textual.app import active_app
from textual.widgets import Input, TextArea


@pytest.fixture(autouse=True)
def _keys_are_handled(monkeypatch):
    """A pilot's key has had its effect before the next, and before the test goes on. Not so for longer than a second,
    as with Textual's own wait: some of it waits for what the test does next."""

    async def wait(*_):
        await handled(active_app.get(), 1.0)

    monkeypatch.setattr("textual.app.wait_for_idle", wait)
    monkeypatch.setattr("textual.pilot.wait_for_idle", wait)


@pytest.fixture(autouse=True)
def _colours(request, monkeypatch):
    if request.node.get_closest_marker("colours_256"):
        monkeypatch.delenv("COLORTERM")


@pytest.fixture
def snap_compare(snap_compare, monkeypatch):
    """The picture is taken when the application is at rest, and no cursor blinks."""
    monkeypatch.setattr(Input, "_toggle_cursor", lambda field: None)
    monkeypatch.setattr(TextArea, "_toggle_cursor_blink_visible", lambda field: None)

    def compare(app, press=(), terminal_size=(80, 24), run_before=None):
        async def run(pilot):
            if run_before is not None:
                await run_before(pilot)
            await pilot.press(*press)
            await at_rest(pilot)

        return snap_compare(app, terminal_size=terminal_size, run_before=run)

    return compare
