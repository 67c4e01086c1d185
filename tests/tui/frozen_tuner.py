"""A tuning of Phi-3 Mini on a simulated card, or of a simulated server, at any point of its course, without an
engine."""

from frozen_console import QuietEngine
from msgspec.structs import replace
from simulated_card import PHI3, Card
from simulated_server import Server

from phitui.autotune.answer import Knowledge
from phitui.autotune.probes import Goal
from phitui.autotune.search import explore
from phitui.autotune.server_search import ServerGoal, ServerKnowledge, explore_server
from phitui.config.layers import load_config
from phitui.engine.protocol.api import Loaded, Remote
from phitui.storage.tunings import Conditions, ServerTuning, ServerTuningKey, Tuning
from phitui.tui.app.base_app import BaseApp
from phitui.tui.screens.tuner import TunerScreen
from phitui.workbench.lease import Use
from phitui.workbench.tune.events import Arm, ProbeBegan, ProbeEnded, ServerTuneResult, Trial, TuneResult
from phitui.workbench.tune.form import TuneForm
from phitui.workbench.tune.profiles import KeptTuning
from phitui.workbench.tune.records import record, server_record
from phitui.workbench.tune.run_state import LocalRunState, ServerRunState
from phitui.workbench.tune.setups import Limit, Setup
from phitui.workbench.workbench import Workbench

SETUP, OTHER = Setup(1, 0, "int8_float16"), Setup(1, 0, "float16")
GOAL = Goal(256, 256, slo_itl_s=0.03)
TITLE = "Phi-3 Mini 4K Instruct"
LOADED = Loaded("phi-3-mini", TITLE, "cuda", "int8_float16", 0, 4096, 3_825_598_976, 2.5, "CUDA device found")


class Clock:
    """Seconds that a test sets."""

    now = 0.0

    def __call__(self):
        return self.now


def probing(setup, card, goal=GOAL):
    """The events of one search, one by one; its answer with its steps at the end."""
    know = Knowledge(goal, PHI3, card.rest_bytes, card.limit_bytes)
    arm = Arm(setup, know, LOADED, card.rest_bytes)
    asked, number = explore(know), 0
    try:
        probe = next(asked)
        while True:
            number += 1
            yield ProbeBegan(arm, probe, number, 12)
            outcome = card.run(probe)
            answered = len(know.verdicts)
            try:
                probe = asked.send(outcome)
            finally:
                for verdict in know.verdicts[answered:]:
                    yield ProbeEnded(arm, verdict, number)
    except StopIteration as end:
        return end.value, know.measured_rates()


def run_state_of(events=None, clock=None, card=None, goal=GOAL):
    """A course after so many events; with None the whole of it, its answer included."""
    clock = clock or Clock()
    run_state = LocalRunState(TuneForm(goal, Limit(0.95), True, {}), TITLE, clock)
    searching, seen = probing(SETUP, card or Card(3, tile=16, memory_noise=0.01, time_noise=0.02), goal), 0
    while events is None or seen < events:
        try:
            run_state.note(next(searching))
        except StopIteration as end:
            answer, rates = end.value
            break
        clock.now += 4.0
        seen += 1
    else:
        return run_state
    trials = [Trial(SETUP, rates, answer.steps), Trial(OTHER, {}, None, "not even one row fits")]
    result = TuneResult(
        goal, SETUP, answer, LOADED, None, 4_275_598_976, 24_000_000_000, trials[0], trials, run_state.probes
    )
    run_state.end("done", result)
    return run_state


def tuning(made="2026-03-01T12:30:00+00:00", model="phi-3-mini", batch=64, kind="int8_float16"):
    of = Conditions("GPU-6f2c", "550.54.14", "4.8.5", "a" * 64, kind, 512)
    return Tuning(
        of, model, made, 256, 256, 1, 0, batch, 88, 45056, 2100.5, 19_000_000_000, 22_800_000_000, "KV-bound at 64 rows"
    )


def with_probes(kept, run_state):
    """The same with what a course has measured."""
    steps = run_state.result.answer.steps
    costs = {"step_fixed_s": steps.fixed_s, "step_row_s": steps.row_s, "step_token_s": steps.token_s}
    return replace(kept, **costs, probes=tuple(map(record, run_state.probes)))


KEPT = [
    KeptTuning(with_probes(tuning(), run_state_of()), ""),
    KeptTuning(tuning("2026-02-11T09:00:00+00:00", batch=48, kind="float16"), "the driver changed"),
]


LOAD_GOAL = ServerGoal(256, 256, slo_itl_s=0.06)
REMOTE = Remote("box", "10.0.0.7:8000", "vLLM", "microsoft/Phi-3-mini-4k-instruct", [], (), 64)
SERVER_LOADED = Loaded(REMOTE.model, REMOTE.model, "remote", "", 0, 4096, 0, 0.1, "vLLM", remote=REMOTE)
NOTES = ["no two prompts begin alike, apart from what the template puts before them"]


def loading(server, goal=LOAD_GOAL):
    """The events of one search on a server, one by one; its answer at the end."""
    know = ServerKnowledge(goal)
    asked = explore_server(know)
    probe, number = next(asked), 1
    try:
        while True:
            yield ProbeBegan(know, probe, number, 40)
            try:
                following = asked.send(server(probe.concurrency))
            finally:
                yield ProbeEnded(know, know.verdicts[-1], number)
            probe, number = following, number + 1
    except StopIteration as end:
        return end.value


def server_run_state_of(events=None, clock=None, server=None, goal=LOAD_GOAL):
    """As `run_state_of`, on a server."""
    clock = clock or Clock()
    run_state = ServerRunState(
        TuneForm(goal, Limit(goal.kv_limit), False, {}), f"{REMOTE.model} on {REMOTE.name}", clock
    )
    searching, seen = loading(server or Server(40, fixed=0.02, each=0.0005, kv_each=0.015), goal), 0
    while events is None or seen < events:
        try:
            run_state.note(next(searching))
        except StopIteration as end:
            run_state.end("done", ServerTuneResult(goal, end.value, REMOTE, NOTES))
            break
        clock.now += 4.0
        seen += 1
    return run_state


def load_tuning(made="2026-03-01T12:30:00+00:00", c_best=32, at_once=64):
    key = ServerTuningKey(REMOTE.name, REMOTE.host, 256, 256)
    why = "40 requests at once go well; the server lets 24 of 64 requests wait"
    return ServerTuning(key, REMOTE.model, REMOTE.kind, at_once, made, 40, c_best, 30, 812.5, 3.2, 3, why)


SERVER_KEPT = [
    KeptTuning(
        replace(load_tuning(), probes=tuple(server_record(one.verdict) for one in server_run_state_of().probes)), ""
    ),
    KeptTuning(load_tuning("2026-02-11T09:00:00+00:00", 16, 32), "the server took 32 prompts at once, now 64"),
]


class QuietServer(QuietEngine):
    """A server that answers nothing."""

    is_local, name, loaded = False, REMOTE.name, SERVER_LOADED
    pid = folder = holding = None


class FrozenTuner(BaseApp):
    """The tuner screen alone, on a desk that nothing runs behind. `server`: a server is the engine."""

    def __init__(self, run_state, theme="phitui-dark", ascii_only=False, kept=KEPT, server=False):
        # A cursor that blinks is there or not, by how busy the machine is.
        config = load_config(overrides={"theme": {"name": theme}, "console": {"motion": "reduced"}})
        super().__init__(config)
        engine = QuietServer() if server else QuietEngine()
        self.workbench = Workbench(config)
        self.workbench.engine = engine
        engine.loaded = engine.loaded or LOADED
        search = self.workbench.tuner
        search.run_state, search.profiles = run_state, list(kept)
        search.refresh = lambda: None
        if run_state is not None and run_state.state == "running":
            search._lease = self.workbench.leases.claim(Use.TUNING)
            search._go.set()
        self.tuner = TunerScreen(search, ascii_only)

    def get_default_screen(self):
        return self.tuner

    @property
    def text(self):
        """What the screen shows, without colours."""
        return self.tuner.canvas.text()
