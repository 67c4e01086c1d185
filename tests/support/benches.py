"""A workbench with a front that keeps what it is told."""

from phitui.config.layers import load_config
from phitui.core.ipc.messages import Failure
from phitui.workbench.front import Front
from phitui.workbench.workbench import Workbench
from support.waiting import until


class Listener(Front):
    def __init__(self):
        self.events, self.said, self.switched = [], [], []
        self.on_tuning = lambda: None

    def show_event(self, event):
        self.events.append(event)

    def say(self, text, kind=""):
        self.said.append(text)

    def show_switching(self, title):
        self.switched.append(title)

    def show_tuning(self):
        self.on_tuning()

    @property
    def failures(self):
        return [event for event in self.events if isinstance(event, Failure)]


class Bench(Workbench):
    """`async with` starts its engine, waits until it is there, and ends all in the end."""

    def __init__(self, config=None, **overrides):
        super().__init__(config or load_config(overrides=overrides))
        self.heard = Listener()
        self.subscribe(self.heard)

    @property
    def said(self):
        return self.heard.said

    @property
    def settings(self):
        return self.config.now

    async def ready(self):
        """The engine answers, and nobody changes it."""
        await until(lambda: self.engine.loaded is not None and not self.switching.busy)

    async def __aenter__(self):
        self.start_engine()
        await self.ready()
        return self

    async def __aexit__(self, *_):
        await self.close()
