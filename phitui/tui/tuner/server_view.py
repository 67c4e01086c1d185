"""What a tuning of a server has of its own in the picture."""

from __future__ import annotations

import math

from phitui.autotune.server_search import ServerKnowledge, ServerProbe, ServerVerdict
from phitui.storage.tunings import ServerProbeRecord
from phitui.tui.charts.cells import BAD, MUTED, NOTHING, PLAIN, VALUE, WARN, Row
from phitui.tui.charts.plot import Guide, Mark
from phitui.tui.charts.table import Cells, Column
from phitui.tui.tuner.view import MEASURED, REFUSED, WIDE, Bounds, Curve, Line, TuningView, figure, role_of, said
from phitui.workbench.tune.events import ServerBegan, ServerEnded, ServerTuneResult
from phitui.workbench.tune.headline import server_headline
from phitui.workbench.tune.records import server_record
from phitui.workbench.tune.run_state import TuningRun

WAITING = "▲"

ServerRun = TuningRun[ServerProbe, ServerVerdict, ServerKnowledge, ServerTuneResult]


class ServerView(TuningView[ServerProbe, ServerVerdict, ServerKnowledge, ServerTuneResult]):
    """Requests at once, and what bounds them: the KV cache, and that some have to wait. There is no fit of these."""

    letter = "C"
    unit = ("request", " at once")
    titles = ("Output tok/s against requests at once", "KV use and waiting in % against requests at once")
    more = "To be read with it"
    columns = (
        Column("at once", 7),
        Column("pred/s", 6),
        Column("tok/s", 6),
        Column("step ms", 7),
        Column("p95 ms", 6),
        Column("TTFT ms", 7),
        Column("wait", 4),
        Column("KV", 4),
        Column("result", 7, right=False),
        Column("for", 0, right=False),
    )
    signs = (
        (MEASURED, VALUE, "measured, KV"), (WAITING, WARN, "waiting"), (REFUSED, BAD, "waiting, KV full, failed"),
    )  # fmt: skip
    intro = (
        "This server has not been tuned yet.",
        "The tuner finds how many requests at once the server answers fastest, and how many it takes before some have "
        "to wait or its KV cache is full. It sends a handful of volleys, and draws here what each brings.",
        "It takes one to a few minutes. The chat sends the server nothing meanwhile.",
        "s starts it: it asks first how long your prompts and answers are.",
    )
    no_tuning = "No tuning yet. s begins one: how many requests at once, in a handful of probes."
    begins = "s starts a tuning of the server; the chat sends it nothing meanwhile"
    before_probes = "The server is asked what it is, and how long prompts have to be…"

    @property
    def records(self) -> list[ServerProbeRecord]:
        return [] if self.run is None else [server_record(one.verdict) for one in self.run.probes]

    def fitted(self, run: ServerRun) -> tuple[Curve | None, int | None]:
        know = run.latest
        return (know.fit.rate, know.knee) if know is not None and know.fit is not None else (None, None)

    def bounds(self, run: ServerRun) -> Bounds:
        limit = 100 * run.form.limit.share
        marks = [mark for one in run.probes for mark in bound_marks(server_record(one.verdict))]
        return Bounds(marks, Guide(limit, f"KV limit {limit:g} %"), least=100.0)

    def cells(self, one: ServerEnded) -> Cells:
        return server_record_cells(server_record(one.verdict))

    def running_cells(self, began: ServerBegan) -> tuple[str, ...]:
        probe = began.probe
        return str(probe.size), figure(probe.predicted_rate), "…", "…", "…", "…", "…", "…", "runs", probe.why

    def work(self, began: ServerBegan, width: int) -> tuple[str, Row]:
        goal, rate = began.of.goal, began.probe.predicted_rate
        predicted = [(f" {rate:,.0f} tok/s by the fit ", MUTED)] if rate is not None and width >= WIDE else []
        return f"{goal.prompt_tokens:,} + {goal.new_tokens:,}", predicted

    def on_the_way(self, run: ServerRun) -> list[Line]:
        limit = f"KV cache up to {run.form.limit.share:.0%} full"
        lines = [("Limit", limit, VALUE), *self.asked(run), *_fit(run)]
        refused = next((one.verdict for one in reversed(run.probes) if one.verdict.judged == "failed"), None)
        if refused is not None and run.state != "failed":
            lines.append((f"At {refused.probe.size}", refused.outcome.detail, WARN))
        return lines

    def use(self, result: ServerTuneResult) -> str:
        return server_headline(result)

    def found(self, run: ServerRun, result: ServerTuneResult) -> list[Line]:
        answer, remote = result.answer, result.remote
        spread = "" if answer.spread is None else f" ± {answer.spread:.1f}"
        speed = f"{answer.tokens_per_s:,.1f}{spread} output tok/s (N = {answer.measurements})"
        return [
            ("C*", f"{self.count(answer.c_best)}, the fastest: {speed}", VALUE),
            ("C_max", f"{self.count(answer.c_max)}, the most that find room", VALUE),
            self.slo(result, "no number keeps"),
            *_fit(run),
            ("Server", f"{remote.name}: {remote.kind} at {remote.host}", VALUE),
            ("Why", answer.why, VALUE),
        ]

    def beside(self, result: ServerTuneResult, width: int) -> list[Row]:
        """What the figures have to be read with."""
        return [row for note in result.notes for row in said("Note", note, width, MUTED)]


def server_record_cells(one: ServerProbeRecord) -> Cells:
    """A probe's row in the table, behind its number."""
    return [
        (str(one.at_once), VALUE),
        (figure(one.predicted_rate), PLAIN),
        (figure(one.rate), VALUE),
        (_ms(one.step_s), PLAIN),
        (_ms(one.gap_p95_s), PLAIN),
        (_ms(one.ttft_s), PLAIN),
        (NOTHING if one.waiting is None else str(one.waiting), PLAIN),
        (NOTHING if one.kv_use is None else f"{one.kv_use:.0%}", PLAIN),
        (one.result, role_of(one.result)),
        (one.why, MUTED),
    ]


def bound_marks(one: ServerProbeRecord) -> list[Mark]:
    """The KV cache over the waiting requests: where both are the same, the latter is 0 mostly."""
    size = one.at_once
    if one.rate is None:
        return [Mark(size, 0.0, REFUSED, BAD)]
    marks = []
    if one.waiting is not None:
        marks.append(Mark(size, 100 * one.waiting / size, WAITING, WARN if one.waiting else MUTED))
    if one.kv_use is not None:
        marks.append(Mark(size, 100 * one.kv_use, MEASURED, VALUE))
    return marks


def _fit(run: ServerRun) -> list[Line]:
    """n requests take so many seconds, and how far their throughput by that is from the measured one where all went
    well: the root mean square."""
    fit = run.latest.fit if run.latest is not None else None
    if fit is None:
        return []
    good = [one.verdict for one in run.probes if one.verdict.judged == "ok"]
    errors = [(fit.rate(one.probe.size) / one.rate - 1) ** 2 for one in good if one.rate]
    off = f", {100 * math.sqrt(sum(errors) / len(errors)):.1f} % off" if errors else ""
    return [("Fit", f"n take {fit.fixed_s:.3g} + n × {fit.request_s:.3g} s{off}", VALUE)]


def _ms(seconds: float | None) -> str:
    return NOTHING if seconds is None else f"{1000 * seconds:.1f}" if seconds < 10 else f"{1000 * seconds:.0f}"
