"""The one configuration in force: whoever needs a setting asks here, and keeps no copy."""

from __future__ import annotations

from phitui.config.layers import Config


class CurrentConfig:
    """`now` changes when a tuning is applied, or another model becomes the one of later starts."""

    def __init__(self, config: Config) -> None:
        self.now = config
