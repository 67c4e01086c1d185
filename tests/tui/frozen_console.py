"""The console with a fixed chat and fixed readings: nothing runs behind it, so a picture of it is always the same."""

import time

import msgspec

from phitui.config.layers import load_config
from phitui.engine.protocol.api import Counted, Delta, Died, Finished, Loaded, Pulse, Started, Timings, Usage
from phitui.hardware.analysis.energy import PerToken
from phitui.hardware.snapshot import Bandwidth, Device, Host, Memory, Process, Snapshot
from phitui.models.footprint import Footprint
from phitui.tui.app.app import PhituiApp
from phitui.workbench.chat.chat import Exchange

GIB = 1024**3
ENGINE_PID = 4711

HOST = Host(
    cpu_pct=42.0, cpus=16, load1=3.25, ram_total_bytes=64 * GIB, ram_used_bytes=20 * GIB, ram_available_bytes=44 * GIB,
    rss_bytes={"engine": 5 * GIB}, unavailable={"temperature_c": "this machine shows no CPU sensor"},
)  # fmt: skip
CARD = Device(
    kind="gpu", index=0, name="NVIDIA GeForce RTX 4090", util_pct=97.0, power_w=312.0, power_limit_w=450.0,
    temperature_c=84.0, vram=Memory(24 * GIB, 20 * GIB, GIB // 2, 7 * GIB // 2),
    bandwidth=Bandwidth(820.0, 1008.0, "busy"),
    processes=[
        Process(ENGINE_PID, "C", 9 * GIB // 2, name="python"),
        Process(815, "C", 14 * GIB, name="vllm-worker"),
        Process(816, "G", GIB, name="Xorg"),
    ],
)  # fmt: skip
WITH_CARD = Snapshot(0.0, HOST, [CARD])
CPU = Device("cpu", 0, "AMD EPYC", util_pct=42.0, vram=Memory(64 * GIB, 20 * GIB, None, 44 * GIB))
WITHOUT_CARD = Snapshot(0.0, HOST, [CPU], {"gpu": "no NVIDIA driver library here (libnvidia-ml.so.1)"})

LOADED = Loaded(
    name="phi-3-mini", title="Phi-3 Mini 4K Instruct", device="cuda", compute_type="int8_float16", threads=0,
    context_window=4096, weight_bytes=3_825_598_976, load_s=2.5, why="CUDA device found; int8_float16 is the fastest",
    footprint=Footprint(weights=3_825_598_976, weight_step=3_726_970_112, kv_token=393_216),
)  # fmt: skip

ANSWER = """A **KV cache** keeps what attention needs again:

- the *keys* of all tokens so far
- and their values

```python
def bytes_per_token(layers, heads, dim):
    return 2 * layers * heads * dim * 2
```

| model | KiB per token |
|---|---|
| Phi-3 Mini | 384 |
"""


def noon():
    """Shown as 12:00 on any day."""
    return time.mktime((*time.localtime()[:3], 12, 0, 0, 0, 0, -1))


class QuietEngine:
    """Stands where the engine's client does, answers nothing."""

    loaded = None
    pid = ENGINE_PID
    folder = holding = "models/phi-3-mini"
    is_local, name = True, "ct2"

    async def generate(self, turns, sampling, answers=1):
        return 1

    async def count(self, turns, text=""):
        return Counted(1, len(text or "".join(turn.content for turn in turns)) // 4 + 1)

    async def cancel(self, request_id):
        pass

    async def park(self):
        pass

    async def stop(self):
        pass


class FrozenConsole(PhituiApp):
    """Takes its events from the test instead of an engine, and its readings from `snapshot`."""

    def __init__(self, theme="phitui-dark", snapshot=WITH_CARD, keys=None, **sections):
        super().__init__(load_config(overrides={"theme": {"name": theme}, "keys": keys or {}, **sections}))
        self.snapshot = snapshot
        self.use(QuietEngine())

    def use(self, engine):
        """Have this answer in the place of a real engine."""
        workbench = self.workbench
        self.engine = workbench.engine = workbench.chat.engine = workbench.switching._engine = engine

    async def _start(self):
        self._early = None
        self.register_commands()
        self.read(self.snapshot)

    def read(self, snapshot):
        """New readings of the hardware."""
        self.workbench.telemetry.take(snapshot)

    def load(self, title=LOADED.title, **changes):
        self.engine.loaded = msgspec.structs.replace(LOADED, title=title, **changes)
        self.workbench.take(self.engine.loaded)

    def answer(self, prompt, text, reason="stop", tokens=96):
        """An exchange that went well."""
        exchange = self.begin(prompt, text, tokens)
        self.workbench.take(Finished(1, reason, Usage(24, tokens), Timings(38.2, 11.1, 1090.0, 88.0)))
        performance = self.workbench.telemetry.performance
        performance._unread = None  # its real window is the test's own
        performance.answer_energy = PerToken(3.46, 2.87, "counter", True)
        self.read(self.snapshot)
        return exchange

    def begin(self, prompt, text, tokens=40) -> Exchange:
        """An exchange whose answer is on its way."""
        chat = self.console_screen.chat
        exchange = chat.submit(prompt)
        exchange.created = noon()
        chat._request_id = 1
        self.workbench.take(Started(1, 24))
        if text:
            self.workbench.take(Delta(1, text, tokens))
        return exchange

    def decode(self, steps=45, context_tokens=1200.0):
        """A second of decode, and the readings after it."""
        self.workbench.take(Pulse(1.0, steps, 0.98, 0.0, 0.0, 1, context_tokens, 0))
        self.read(self.snapshot)

    def die(self):
        self.engine.loaded = None
        self.workbench.take(Died("killed by SIGKILL", [1], True))
