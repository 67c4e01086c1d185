"""The rows that are open: read from the input, and not yet in the output."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from phitui.engine.protocol.api import Row, RowDone
from phitui.storage.journal import KEYS_PER_LINE, AnswerRecord, MadeRecord, key_of
from phitui.workbench.batch.answer import Origin, Written, answered_line, failed_line
from phitui.workbench.batch.output import KeptRows
from phitui.workbench.batch.request import Refusal, Request

ERROR = "error"


class OpenRow:
    """A row with what there is of each of its answers. `failure` says why it has none."""

    def __init__(self, row: Request | Refusal) -> None:
        self.row = row
        self.n = row.n if isinstance(row, Request) else 1
        self.made: dict[int, list[int]] = {}
        self.answers: dict[int, AnswerRecord] = {}
        self.failure = row.reason if isinstance(row, Refusal) else ""

    @property
    def complete(self) -> bool:
        return bool(self.failure) or len(self.answers) == self.n

    @property
    def keys(self) -> range:
        return range(key_of(self.row.line, 0), key_of(self.row.line, self.n))

    def left(self) -> Iterator[int]:
        """The keys without an answer."""
        return (key for key in self.keys if not self.failure and key not in self.answers)

    def written(self, origin: Origin) -> Written:
        """Its line in the output."""
        row = self.row
        if self.failure:
            return failed_line(row.line, row.id, row.form, self.failure, origin, self.n)
        return answered_line(row.line, row.id, row.form, [self.answers[key] for key in self.keys], origin)


class OpenRows:
    """Open rows in the order of the input. They are bounded by `most_rows` and `most_bytes` of text; a row that is
    answered and waits for its turn in an `ordered` output counts."""

    def __init__(self, origin: Origin, ordered: bool, kept: KeptRows, most_rows: int, most_bytes: int) -> None:
        self._origin = origin
        self._ordered = ordered
        self._kept = kept
        self._most = (most_rows, most_bytes)
        self._rows: dict[int, OpenRow] = {}
        self._complete: list[int] = []  # lines, in the order in which they came to be
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def has_room(self) -> bool:
        return len(self._rows) < self._most[0] and self._bytes < self._most[1]

    def admit(self, row: Request | Refusal) -> list[int]:
        """Open a row; returns the keys that are to be run: an earlier run may have left answers of it."""
        one = self._rows[row.line] = OpenRow(row)
        self._bytes += row.text_bytes if isinstance(row, Request) else 0
        for key in one.keys:
            answer = self._kept.answers.pop(key, None)
            made = self._kept.made.pop(key, None)
            if answer is not None:
                self._take(one, answer)
            elif made:
                one.made[key] = made
        if isinstance(row, Refusal):
            self._complete.append(row.line)
        return list(one.left())

    def _row(self, key: int) -> OpenRow | None:
        """The open row of a key that has no answer."""
        one = self._rows.get(key // KEYS_PER_LINE)
        return one if one is not None and not one.failure and key in one.keys and key not in one.answers else None

    def is_open(self, key: int) -> bool:
        return self._row(key) is not None

    def needs(self, note: MadeRecord | AnswerRecord) -> bool:
        """Whether a journal has to have it: of rows that are in the output by now, nothing."""
        return self.is_open(note.key) if isinstance(note, MadeRecord) else note.key // KEYS_PER_LINE in self._rows

    def made(self, key: int, ids: list[int]) -> bool:
        """More tokens of an answer. Whether it is one that they can be of."""
        one = self._row(key)
        if one is None:
            return False
        one.made.setdefault(key, []).extend(ids)
        return True

    def answered(self, event: RowDone) -> AnswerRecord | None:
        """An answer is complete. None where its row is not open."""
        counts = (event.usage.prompt_tokens, event.usage.completion_tokens)
        # An answer may be empty, as a row with a limit of one token: only what was in its place is a failure.
        empty = not event.thinking and event.reason in ("stop", "length")
        said = event.shortfall if event.failed else ""
        ends = ("", said) if empty else (said, "")
        return self.take(AnswerRecord(event.key, event.text, event.reason, *counts, event.thinking, *ends))

    def failed(self, key: int, reason: str) -> AnswerRecord | None:
        """There will be no answer, and so none to this row. None where its row is not open."""
        return self.take(AnswerRecord(key, reason, ERROR))

    def take(self, answer: AnswerRecord) -> AnswerRecord | None:
        one = self._row(answer.key)
        if one is None:
            return None
        self._take(one, answer)
        return answer

    def _take(self, one: OpenRow, answer: AnswerRecord) -> None:
        one.made.pop(answer.key, None)
        if answer.reason == ERROR:
            one.failure = answer.text
        one.answers[answer.key] = answer
        if one.complete:
            self._complete.append(one.row.line)

    def ready(self) -> list[Written]:
        """The lines that can be written now; their rows are open no more."""
        return [self._close(line) for line in self._next_lines()]

    def _next_lines(self) -> Iterator[int]:
        if not self._ordered:
            lines, self._complete = self._complete, []
            yield from lines
            return
        self._complete.clear()
        while self._rows and self._rows[first := next(iter(self._rows))].complete:
            yield first

    def _close(self, line: int) -> Written:
        one = self._rows.pop(line)
        self._bytes -= one.row.text_bytes if isinstance(one.row, Request) else 0
        return one.written(self._origin)

    def rows(self, keys: Iterable[int]) -> list[Row]:
        """What the engine is to be sent for keys that have no answer, with what was made before."""
        found = []
        for key in keys:
            one = self._row(key)
            if one is not None and isinstance(one.row, Request):
                found.append(Row(key, one.row.turns, one.row.sampling, one.made.get(key, [])))
        return found

    def left(self) -> list[int]:
        """All keys without an answer."""
        return [key for one in self._rows.values() for key in one.left()]

    def kept(self) -> KeptRows:
        """What a journal needs of the open rows, and what an earlier run has left of rows that are still to come."""
        made, answers = dict(self._kept.made), dict(self._kept.answers)
        for one in self._rows.values():
            made.update(one.made)
            answers.update(one.answers)
        return KeptRows(made, answers)
