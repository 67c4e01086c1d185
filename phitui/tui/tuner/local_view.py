"""What a tuning of the engine on this machine has of its own in the picture."""

from __future__ import annotations

from phitui.autotune.memory import Shape
from phitui.autotune.probes import Probe, Verdict
from phitui.autotune.search import GOOD_ENOUGH
from phitui.storage.tunings import ProbeRecord
from phitui.tui.charts.cells import BAD, MUTED, NOTHING, PLAIN, VALUE, Row, bar, name
from phitui.tui.charts.plot import CURVE, Guide
from phitui.tui.charts.table import Cells, Column
from phitui.tui.tuner.view import MEASURED, OTHER, REFUSED, WIDE, Bounds, Curve, Line, TuningView, figure, role_of
from phitui.workbench.tune.events import Arm, LocalBegan, LocalEnded, TuneResult
from phitui.workbench.tune.headline import headline
from phitui.workbench.tune.records import record
from phitui.workbench.tune.run_state import TuningRun
from phitui.workbench.tune.setups import Setup

SETUP_HEAD = "workers×threads"
_BAR = 20
_GB = 1e9

LocalRun = TuningRun[Probe, Verdict, Arm, TuneResult]


class LocalView(TuningView[Probe, Verdict, Arm, TuneResult]):
    """Rows that run together, and the memory that they take."""

    letter = "B"
    unit = ("row", "")
    titles = ("Decode tok/s against rows", "Memory in GB against rows")
    more = "Lengths and setups"
    columns = (
        Column(SETUP_HEAD, 0, right=False),
        Column("rows", 4),
        Column("tokens", 9),
        Column("pred GB", 7),
        Column("real GB", 7),
        Column("error", 6),
        Column("tok/s", 6),
        Column("step ms", 7),
        Column("result", 6, right=False),
    )
    signs = (
        (MEASURED, VALUE, "measured"), (OTHER, MUTED, "other setup, length"), (REFUSED, BAD, "over, slow, oom"),
    )  # fmt: skip
    intro = (
        "Nothing has been tuned for this model yet.",
        "The tuner finds how many prompts (rows) run fastest together on this machine, and how many fit into its "
        "memory. It runs a handful of batches of several sizes, and draws here what each brings and takes.",
        "It takes one to a few minutes. The chat's engine stops meanwhile, and comes back after it.",
        "s starts it: it asks first how long your prompts and answers are.",
    )
    no_tuning = "No tuning yet. s begins one: the batch sizes for your lengths, in a handful of probes."
    begins = "s starts a tuning; the chat's engine stops meanwhile and comes back after it"
    before_probes = "The engine is being handed over…"

    @property
    def records(self) -> list[ProbeRecord]:
        return [] if self.run is None else [record(one) for one in self.run.probes]

    def setup(self, run: LocalRun) -> str:
        setup = _setup(run)
        return str(setup) if setup is not None else ""

    def fitted(self, run: LocalRun) -> tuple[Curve | None, int | None]:
        """The knee is below the limit."""
        own = _own(run)
        steps = own[-1].of.know.steps if own else None
        sizes = {one.verdict.probe.size for one in own if one.verdict.judged == "ok"}
        if steps is None or len(sizes) < 2:  # of one size there is nothing to fit
            return None, None
        know, shape = own[-1].of.know, _deepest(own)
        deep = shape.total - shape.new / 2  # tokens in a row's cache in the middle of the steps
        top = max(*sizes, know.memory.largest(shape, know.limit_bytes, know.goal.most))
        wanted = GOOD_ENOUGH * steps.decode_rate(top, deep)
        knee = next((size for size in range(1, top) if steps.decode_rate(size, deep) >= wanted), top)
        return lambda rows: steps.decode_rate(rows, deep), knee

    def drawn(self, run: LocalRun) -> list[LocalEnded]:
        own = _own(run)
        return [one for one in own if one.verdict.probe.shape.total == _deepest(own).total]

    def bounds(self, run: LocalRun) -> Bounds | None:
        if run.latest is None:
            return None
        limit = run.latest.know.limit_bytes / _GB
        marks = [self.mark(run, one, held(record(one)) / _GB) for one in run.probes]
        running = run.running.probe.predicted_bytes / _GB if run.running is not None else 0.0
        return Bounds(marks, Guide(limit, f"limit {limit:.3g} GB"), _memory_curve(_own(run)), running)

    def cells(self, one: LocalEnded) -> Cells:
        return record_cells(record(one))

    def running_cells(self, began: LocalBegan) -> tuple[str, ...]:
        shape, predicted = began.probe.shape, f"{began.probe.predicted_bytes / _GB:.3f}"
        what = short(began.of.setup), str(shape.batch), f"{shape.prompt}+{shape.new}", predicted
        return (*what, "…", "", "…", "…", "runs")

    def work(self, began: LocalBegan, width: int) -> tuple[str, Row]:
        shape, predicted, limit = began.probe.shape, began.probe.predicted_bytes, began.of.know.limit_bytes
        share = bar([(predicted / max(limit, 1), CURVE)], _BAR if width >= WIDE else 8)
        memory = f" {predicted / _GB:.3f} of {limit / _GB:.3f} GB "
        return f"{shape.prompt:,} + {shape.new}", [(" ", PLAIN), *share, (memory, MUTED)]

    def on_the_way(self, run: LocalRun) -> list[Line]:
        limit = NOTHING if run.latest is None else f"{run.latest.know.limit_bytes / _GB:.3f} GB"
        return [("Limit", limit, VALUE), *self.asked(run), *_fits(run)]

    def use(self, result: TuneResult) -> str:
        return headline(result)

    def found(self, run: LocalRun, result: TuneResult) -> list[Line]:
        answer = result.answer
        return [
            ("B*", f"{self.count(answer.b_best)}, the fastest: {answer.tokens_per_s:,.0f} output tok/s", VALUE),
            ("B_max", f"{self.count(answer.b_max)}, the most that fit {answer.limit_bytes / _GB:.3f} GB", VALUE),
            self.slo(result, "no batch keeps"),
            ("KV", f"{answer.kv_token_budget:,} tokens at once", VALUE),
            ("Setup", str(result.setup), VALUE),
            *_fits(run),
            ("Why", answer.why, VALUE),
        ]

    def beside(self, result: TuneResult, width: int) -> list[Row]:
        """What holds for other lengths, by the fits, and what other configurations brought."""
        del width
        rows: list[Row] = [[(f" {'tokens':>7} {'B_max':>6} {'B*':>5} {'out tok/s':>9} by fit", MUTED)]]
        for each in result.answer.table:
            figures = f" {each.total_tokens:>7,} {each.b_max:>6} {each.b_best:>5} {each.tokens_per_s:>9,.0f}"
            rows.append([(figures, PLAIN)])
        rows += [[], [(f" {SETUP_HEAD:<20} {'rows':>4} {'out tok/s':>10}", MUTED)]]
        for trial in result.trials:
            speed, batch = trial.best
            if batch:
                role = VALUE if trial.setup == result.setup else PLAIN
                rows.append([(f" {short(trial.setup):<20} {batch:>4} {speed:>10,.0f}", role)])
            else:
                why = name(trial.problem, 60) or NOTHING
                rows.append([(f" {short(trial.setup):<20} {NOTHING:>4} {why}", MUTED)])
        return rows


def _setup(run: LocalRun) -> Setup | None:
    """The configuration that is looked at: the answer's, else the one that is measured."""
    if run.result is not None:
        return run.result.setup
    return run.latest.setup if run.latest is not None else None


def _own(run: LocalRun) -> list[LocalEnded]:
    """The probes of that configuration."""
    setup = _setup(run)
    return [one for one in run.probes if one.of.setup == setup]


def _deepest(own: list[LocalEnded]) -> Shape:
    """The shape of those that went to full depth."""
    return max((one.verdict.probe.shape for one in own), key=lambda shape: shape.total)


def _memory_curve(own: list[LocalEnded]) -> Curve | None:
    if not own:
        return None
    shape, memory = _deepest(own), own[-1].of.know.memory
    base, each = memory.peak(shape._replace(batch=0)), memory.peak(shape._replace(batch=1000))
    return lambda rows: (base + (each - base) * rows / 1000) / _GB


def _fits(run: LocalRun) -> list[Line]:
    """How far they are from what was measured: the worst of the memory, the root mean square of the steps."""
    own = _own(run)
    if not own:
        return []
    know = own[-1].of.know
    errors = (know.memory.error, know.steps.error if know.steps is not None else None)
    memory, steps = (NOTHING if one is None else f"{100 * one:.1f} %" for one in errors)
    return [("Error", f"of the fit: memory {memory}, step time {steps}", VALUE)]


def short(setup: Setup) -> str:
    """E.g. "2×1 int8_float32": workers × threads of each; on CUDA there are no threads of ours."""
    threads = f"×{setup.threads}" if setup.threads else ""
    return f"{setup.workers}{threads} {setup.compute_type}"


def record_cells(one: ProbeRecord) -> Cells:
    """A probe's row in the table, behind its number."""
    return [
        (short(Setup(one.workers, one.threads, one.compute_type)), PLAIN),
        (str(one.rows), VALUE),
        (f"{one.prompt_tokens}+{one.new_tokens}", PLAIN),
        (f"{one.predicted_bytes / _GB:.3f}", PLAIN),
        (NOTHING if one.peak_bytes is None else f"{one.peak_bytes / _GB:.3f}", PLAIN),
        (error(one), MUTED),
        (figure(one.rate), VALUE),
        (NOTHING if one.step_s is None else f"{one.step_s * 1000:.1f}", PLAIN),
        (one.result, role_of(one.result)),
    ]


def held(one: ProbeRecord) -> int:
    """Bytes that the probe took; of one that failed what was predicted for it."""
    return one.predicted_bytes if one.peak_bytes is None else one.peak_bytes


def error(one: ProbeRecord) -> str:
    """How far the measured memory is from the predicted one, in percent of the measured."""
    return NOTHING if not one.peak_bytes else f"{100 * (one.predicted_bytes / one.peak_bytes - 1):+.1f}%"
