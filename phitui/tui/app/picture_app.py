"""The tuner's picture as an SVG where there is no screen."""

from __future__ import annotations

import os

from textual.app import App, ComposeResult

from phitui.config.layers import Config
from phitui.tui.charts.canvas import Canvas
from phitui.tui.themes import load_theme
from phitui.tui.tuner.picture import TunerPicture


class PictureApp(App[str]):
    """Paints nothing: it is there for the colours of the theme."""

    def __init__(self, config: Config, picture: TunerPicture) -> None:
        super().__init__()
        theme = load_theme(config.theme.name, os.environ)
        self.register_theme(theme)
        self.theme = theme.name
        self._picture = picture
        self._canvas = Canvas(picture.rows)

    def compose(self) -> ComposeResult:
        yield self._canvas

    def on_ready(self) -> None:
        self.exit(self._canvas.svg(self._picture.whole(), self._picture.name))


def tuning_svg(config: Config, picture: TunerPicture) -> str:
    """The whole picture of a tuning."""
    return PictureApp(config, picture).run(headless=True) or ""
