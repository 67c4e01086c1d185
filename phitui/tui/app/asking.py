"""The one question before something that the engine does is stopped, for every door to the same act."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from textual.app import App

from phitui.core.errors import PhituiError
from phitui.tui.widgets.dialogs import Confirm
from phitui.workbench.lease import Leases, Use


def ask_before(app: App[None], leases: Leases, use: Use, doing: str, deed: Callable[[], None]) -> None:
    """Do it; where it stops something, after a question that says what. `doing` is what the key that agrees does.

    Raises UsageError where this use of the engine is refused.
    """
    leases.check(use)
    losses = leases.losses(use)
    if not losses:
        deed()
        return

    def decided(yes: bool | None) -> None:
        if yes and set(leases.losses(use)) <= set(losses):
            attempt(app, deed)
        elif yes:  # something has begun since
            attempt(app, partial(ask_before, app, leases, use, doing, deed))

    app.push_screen(Confirm(" ".join(losses), doing), decided)


def attempt(app: App[None], deed: Callable[[], None]) -> None:
    """Do it, or say why it cannot be done."""
    try:
        deed()
    except PhituiError as error:
        app.notify(str(error), severity="warning", markup=False)
