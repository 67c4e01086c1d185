"""The tunings that were kept, as a list with one of them marked, and all about that one."""

from __future__ import annotations

from datetime import datetime

from phitui.storage.tunings import ServerTuning, Tuning
from phitui.tui.charts.cells import ACCENT, MARKED, MUTED, NOTHING, OK, PLAIN, VALUE, WARN, Row, fit, name
from phitui.tui.tuner.local_view import SETUP_HEAD, LocalView, short
from phitui.tui.tuner.server_view import ServerView
from phitui.tui.tuner.view import said
from phitui.workbench.tune.headline import earlier_headline
from phitui.workbench.tune.profiles import KeptTuning
from phitui.workbench.tune.setups import Setup

_GB = 1e9


class ProfileList:
    """Keeps its mark on the same tuning when the list is another one."""

    def __init__(self) -> None:
        self.profiles: list[KeptTuning] = []
        self.problem = self._model = ""
        self._of_server = self._moved = False
        self._place = 0

    def take(self, profiles: list[KeptTuning], problem: str, of_server: bool = False, model: str = "") -> None:
        """Show these, `of_server`: a server's; until the mark is moved it stands at the newest one of `model`."""
        marked = self.marked
        self.profiles, self.problem, self._of_server, self._model = profiles, problem, of_server, model
        known = [profile.tuning for profile in profiles]
        if not self._moved:
            self._place = next((at for at, one in enumerate(known) if model_of(one) == model), 0)
        elif marked is not None and marked.tuning in known:
            self._place = known.index(marked.tuning)
        self._place = min(self._place, max(len(profiles) - 1, 0))

    @property
    def marked(self) -> KeptTuning | None:
        """The one that a key acts on."""
        return self.profiles[self._place] if self.profiles else None

    @property
    def shown(self) -> KeptTuning | None:
        """The one to draw: the marked one, where somebody has chosen it or it is of the model that would be tuned."""
        marked = self.marked
        return marked if marked is not None and (self._moved or model_of(marked.tuning) == self._model) else None

    def move(self, by: int) -> None:
        self._moved = True
        self._place = min(max(self._place + by, 0), max(len(self.profiles) - 1, 0))

    def rows(self, width: int, height: int) -> list[Row]:
        """Heads and tunings in exactly `width` × `height` cells."""
        heads = ("server", "C*") if self._of_server else (SETUP_HEAD, "B*")
        rows = [fit([(_line("made", "model", "tokens", *heads, "tok/s", "state", width), MUTED)], width)]
        room = max(height - 1, 0)
        first = min(max(self._place - room // 2, 0), max(len(self.profiles) - room, 0))
        for number, profile in enumerate(self.profiles[first : first + room], first):
            rows.append(_row(profile, width, marked=number == self._place))
        if not self.profiles:
            rows.append(fit([("   " + (name(self.problem, 300) or "no tuning has been kept yet"), MUTED)], width))
        return [*rows, *[fit([], width)] * (height - len(rows))][:height]


def about(profile: KeptTuning | None, width: int) -> list[Row]:
    """Under which conditions a tuning was made, and what it found."""
    if profile is None:
        return []
    tuning = profile.tuning
    found = _about_server(tuning) if isinstance(tuning, ServerTuning) else _about_local(tuning)
    state = ("State", f"stale: {profile.problem}" if profile.problem else "valid")
    roles = {"": ACCENT, "State": WARN if profile.problem else OK}
    pairs = [("", earlier_headline(tuning)), state, *found, ("Made", made(tuning)), ("Why", tuning.why)]
    return [row for label, text in pairs for row in said(label, text, width, roles.get(label, VALUE))]


def _about_local(tuning: Tuning) -> list[tuple[str, str]]:
    of = tuning.conditions
    driver = [("Driver", of.driver)] if of.driver else []
    return [
        ("B*", f"{LocalView.count(tuning.batch)}, the fastest: {tuning.tokens_per_s:,.0f} output tok/s"),
        ("B_max", f"{LocalView.count(tuning.b_max)}, the most that fit {tuning.limit_bytes / _GB:.3f} GB"),
        ("KV", f"{tuning.kv_tokens:,} tokens at once"),
        ("Takes", f"{tuning.peak_bytes / _GB:.3f} GB at B*"),
        ("Setup", str(setup(tuning))),
        ("For", f"{tuning.prompt_tokens:,} + {tuning.new_tokens:,} tokens, up to {of.bucket:,}"),
        ("Model", f"{tuning.model_name}, {of.model[:12] or 'no hash'}"),
        ("Device", of.device),
        *driver,
        ("Engine", f"CTranslate2 {of.engine}"),
    ]


def _about_server(tuning: ServerTuning) -> list[tuple[str, str]]:
    takes = "an unknown number of prompts" if tuning.at_once is None else f"{tuning.at_once} prompts"
    return [
        ("C*", f"{ServerView.count(tuning.c_best)}, the fastest: {tuning.tokens_per_s:,.0f} output tok/s"),
        ("C_max", f"{ServerView.count(tuning.c_max)}, the most that find room"),
        ("C_slo", NOTHING if tuning.c_slo is None else ServerView.count(tuning.c_slo)),
        ("For", f"{tuning.prompt_tokens:,} + {tuning.new_tokens:,} tokens"),
        ("Model", tuning.model),
        ("Server", f"{tuning.key.engine}: {tuning.kind} at {tuning.key.host}"),
        ("Takes", f"{takes} at once, by its own word"),
    ]


def setup(tuning: Tuning) -> Setup:
    """The configuration that it stands for."""
    return Setup(tuning.workers, tuning.threads, tuning.conditions.compute_type)


def model_of(tuning: Tuning | ServerTuning) -> str:
    return tuning.model if isinstance(tuning, ServerTuning) else tuning.model_name


def made(tuning: Tuning | ServerTuning) -> str:
    """In the time zone of whoever looks."""
    try:
        return datetime.fromisoformat(tuning.made).astimezone().strftime("%Y-%m-%d %H:%M")
    except ValueError:  # somebody has edited the file
        return tuning.made


def _row(profile: KeptTuning, width: int, marked: bool) -> Row:
    tuning = profile.tuning
    lengths = f"{tuning.prompt_tokens}+{tuning.new_tokens}"
    state = "stale" if profile.problem else "valid"
    speed = f"{tuning.tokens_per_s:,.0f}"
    if isinstance(tuning, ServerTuning):
        what = tuning.kind, str(tuning.c_best)
    else:
        what = short(setup(tuning)), str(tuning.batch)
    line = _line(made(tuning), model_of(tuning), lengths, *what, speed, state, width)
    if marked:
        return fit([("▶" + line[1:], MARKED)], width, MARKED)
    return fit([(line[: -len(state)], PLAIN), (state, WARN if profile.problem else OK)], width)


def _line(when: str, model: str, lengths: str, kind: str, batch: str, speed: str, state: str, width: int) -> str:
    wide = min(max(width - 66, 8), 24)  # what the figures leave
    cells = [
        f"  {name(when, 16):<16}", f"{name(model, wide):<{wide}}", f"{name(lengths, 9):>9}", f"{name(kind, 17):<17}",
        f"{name(batch, 4):>4}", f"{name(speed, 6):>6}", state,
    ]  # fmt: skip
    return " ".join(cells)
