"""The themes of an application, in the colours that its terminal has."""

from __future__ import annotations

import os

from phitui.config.layers import config_dir, save_setting
from phitui.core.errors import PhituiError
from phitui.tui.app.painting import PaintingApp
from phitui.tui.terminal.fixed_colours import FixedColours
from phitui.tui.themes import load_all, load_theme

# The theme of the terminal's own colours.
_OWN_COLOURS = "terminal"


class ThemedApp(PaintingApp):
    """Themes by name, by key and out of a list."""

    def take_first_theme(self, name: str) -> None:
        """Begin with the theme `name`, or with the terminal's own colours where it has no more than these. Raises
        UsageError where there is no such theme."""
        theme = load_theme(name, os.environ)
        if self.console.color_system == "standard" and not theme.ansi:  # sixteen
            theme = load_theme(_OWN_COLOURS, os.environ)
        if self.console.color_system == "256":
            self._filters.append(FixedColours())
        self.register_theme(theme)
        self.theme = theme.name

    def action_next_theme(self) -> None:
        """The next theme, kept for later starts."""
        names = self._register_themes()
        place = names.index(self.theme) if self.theme in names else -1
        self.use_theme(names[(place + 1) % len(names)])

    def use_theme(self, name: str) -> None:
        """Take a theme, and keep it for later starts."""
        self._register_themes()  # Textual has themes of some of these names, without the colours of the gauges
        self.theme = name
        try:
            save_setting(config_dir(os.environ) / "config.toml", "theme.name", name)
        except PhituiError as error:
            self.notify(str(error), severity="warning", markup=False)
        else:
            self.notify(f"Theme {name}", timeout=2, markup=False)

    def theme_names(self) -> list[str]:
        """All themes that there are, of which none has to be registered. From any thread."""
        return [theme.name for theme in load_all(os.environ)[0]]

    def _register_themes(self) -> list[str]:
        """Read all themes anew, so that an edited file shows; returns their names."""
        themes, errors = load_all(os.environ)
        for theme in themes:
            self.register_theme(theme)
        for error in errors:
            self.notify(str(error), severity="warning", markup=False)
        return [theme.name for theme in themes]

    def action_themes(self) -> None:
        """The list of themes, unless a question is open."""
        if not self.screen.is_modal:
            self.choose_theme()

    def choose_theme(self) -> None:
        """Open the list of themes, which shows each as the cursor moves."""
        from phitui.tui.screens.theme_list import ThemeList

        def decided(name: str | None) -> None:
            if name is not None:
                self.use_theme(name)

        self.push_screen(ThemeList(self._register_themes()), decided)
