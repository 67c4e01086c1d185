"""Answers one request: prompt to tokens, decode with a callback, tokens to text as they come."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

from phitui.core.errors import PhituiError, UnavailableError, UsageError
from phitui.engine.protocol.api import Delta, Finished, FinishReason, Generate, Sampling, Started, Timings, Usage
from phitui.engine.protocol.endings import is_failure, shortfall
from phitui.engine.protocol.thinking import Split, ThinkSplitter
from phitui.engine.worker.loading import Model, check_answers, is_out_of_memory
from phitui.engine.worker.recovery import wait_idle
from phitui.engine.worker.step_clock import StepClock
from phitui.engine.worker.stops import StopFinder

# Tokens that come closer together than this share a message, so that a fast card does not spend its host's time on
# messages. The first token never waits.
_GATHER_S = 0.02
_IDLE_POLL_S = 0.05

Token = tuple[int, int, float]  # which answer, id, time.perf_counter() when it was made


class Answer:
    """The answers to one request while they are being made: mostly one, else all in one batch. `cancelled` may be set
    from another thread; `queued` tells how many requests wait behind it; `meanwhile` is called every so often for what
    else the engine does, and tells whether that computes as well."""

    def __init__(
        self,
        model: Model,
        request: Generate,
        send: Callable[[Any], None],
        queued: Callable[[], int],
        meanwhile: Callable[[], bool] = lambda: False,
    ) -> None:
        self._model = model
        self._meanwhile = meanwhile
        self._queued = queued
        self._request = request
        self._send = send
        self._made: queue.SimpleQueue[Token] = queue.SimpleQueue()
        self._strands = [Strand(model, request, request.id + place) for place in range(request.answers)]
        self.cancelled = threading.Event()

    def run(self) -> None:
        """Make the whole answers and send their events. Raises PhituiError where they cannot be made."""
        self._begun = time.perf_counter()
        self._clock = StepClock(self._begun, len(self._strands))
        prompt = self._model.prompt.tokens(self._request.turns)
        self._clock.tokenized(time.perf_counter(), len(prompt))
        self._prompt_tokens = len(prompt)
        self._room = fit(len(prompt), self._request.sampling, self._model.manifest.context_window)
        for strand in self._strands:
            self._send(Started(strand.id, len(prompt)))
        try:
            if not self.cancelled.is_set():
                self._decode(prompt)
        finally:
            self._pulse(last=True)  # also of one that fails: its time is work, and its decode is over
        for strand in self._strands:
            self._tell_end(strand)

    def _decode(self, prompt: list[str]) -> None:
        results = self._model.generator.generate_batch(
            [prompt] * len(self._strands),
            max_length=self._room,
            include_prompt_in_result=False,
            end_token=self._model.manifest.end_tokens,
            callback=self._on_token,
            asynchronous=True,
            **sampling_options(self._request.sampling, self._model.loaded.device),
        )
        try:
            while not all(result.done() for result in results):
                self._forward()
                self._meanwhile()
            for result in results:
                result.result()
        except RuntimeError as error:
            raise self._failure(error) from error
        except BaseException:
            self.cancelled.set()  # nothing may leave here while the batch runs
            raise
        finally:
            if not self._meanwhile():  # leaving earlier can abort the process
                wait_idle(self._model.generator)
            self._forward(last=True)

    def _failure(self, error: RuntimeError) -> PhituiError:
        """The error for a person. After running out of memory the next call may fail once more for no reason of its
        own (CUDA keeps the old error): so one token is made here and its failure let pass."""
        if not is_out_of_memory(error):
            return PhituiError(f"the engine failed: {error}", "Try again; phitui doctor checks the machine")
        with contextlib.suppress(UnavailableError):
            check_answers(self._model)
        fewer = ", or ask for fewer answers" if len(self._strands) > 1 else ""
        return PhituiError(
            "memory ran out during this answer", f"Start a new chat, or lower generation.max_tokens{fewer}"
        )

    def _on_token(self, step: Any) -> bool:
        """Runs on CTranslate2's thread, once per token. Returning True ends that answer. Must never raise: that
        aborts the process."""
        try:
            self._made.put((step.batch_id, step.token_id, time.perf_counter()))
            return self.cancelled.is_set() or self._strands[step.batch_id].stops.found
        except BaseException:  # noqa: BLE001
            return True

    def _forward(self, last: bool = False) -> None:
        """Wait a little for tokens and send the text they make."""
        tokens = self._drain(wait=not last)
        longest = max(len(strand.ids) for strand in self._strands)
        times = []
        for place, number, made_at in tokens:
            strand = self._strands[place]
            strand.take(number, made_at)
            if len(strand.ids) > longest:  # the first row of a step
                longest = len(strand.ids)
                times.append(made_at)
        self._clock.made(times)
        for strand in self._strands:
            self._send_text(strand, last)
        if not last and self._clock.due(time.perf_counter()):
            self._pulse()
        if tokens and not last:
            time.sleep(_GATHER_S)

    def _send_text(self, strand: Strand, last: bool) -> None:
        strand.send_unsent(self._send, last)
        others = any(not one.over(self._room) for one in self._strands)
        if (
            others and not last and not strand.told and strand.over(self._room)
        ):  # the last of them when the engine is idle
            self._pulse()
            self._clock.rows -= 1
            strand.send_unsent(self._send, last=True)
            self._tell_end(strand)

    def _tell_end(self, strand: Strand) -> None:
        """Say that an answer is complete, once."""
        if strand.told:
            return
        strand.told = True
        usage = Usage(self._prompt_tokens, len(strand.ids))
        reason: FinishReason = strand.reason or ("cancelled" if self.cancelled.is_set() else "length")
        times = timings(self._begun, strand.first_s, strand.last_s, len(strand.ids))
        lacks = shortfall(reason, strand.answered, strand.thought, self._room)
        failed = is_failure(reason, strand.answered)
        self._send(Finished(strand.id, reason, usage, times, shortfall=lacks, failed=failed))

    def _pulse(self, last: bool = False) -> None:
        self._send(self._clock.pulse(time.perf_counter(), self._queued(), last))

    def _drain(self, wait: bool) -> list[Token]:
        tokens: list[Token] = []
        try:
            if wait:
                tokens.append(self._made.get(timeout=_IDLE_POLL_S))
            while True:
                tokens.append(self._made.get_nowait())
        except queue.Empty:
            return tokens


class Strand:
    """One of the answers to a request. `ids` are its tokens; `told` says that its end has been sent; `answered` and
    `thought` whether there is text of either kind."""

    def __init__(self, model: Model, request: Generate, number: int) -> None:
        self.id = number
        self.ids: list[int] = []
        self.first_s: float | None = None
        self.last_s = 0.0
        self.stops = StopFinder(request.sampling.stop)
        self.told = self.answered = self.thought = False
        self._splitter = ThinkSplitter()
        self._end_ids = model.prompt.end_ids
        self._detokenizer = model.prompt.detokenizer()
        self._text = ""
        self._sent = 0

    def take(self, number: int, made_at: float) -> None:
        """One more token. None belongs to the answer after the one that completes a stop string."""
        if self.stops.found:
            return
        self.ids.append(number)
        self.first_s = self.first_s or made_at
        self.last_s = made_at
        self._text += self.stops.feed(self._detokenizer.feed(number))

    def send_unsent(self, send: Callable[[Any], None], last: bool) -> None:
        """Send what there is since the last call; with `last` also what was held back."""
        text, self._text = self._text, ""
        new, self._sent = len(self.ids) - self._sent, len(self.ids)
        if last and not self.told:
            text += self.stops.feed(self._detokenizer.flush()) + self.stops.flush()
        split = self._splitter.feed(text)
        if split.moved:
            self.thought, self.answered = self.thought or self.answered, False
        if last and not self.told:
            rest = self._splitter.flush()
            split = Split(split.thinking + rest.thinking, split.text + rest.text, split.moved)
        self.thought = self.thought or bool(split.thinking.strip())
        self.answered = self.answered or bool(split.text.strip())
        if new or any(split):
            send(Delta(self.id, split.text, len(self.ids), split.thinking, split.moved))

    @property
    def reason(self) -> FinishReason | None:
        """Why it has ended by itself, None where it has not, or its length did."""
        return "stop" if self.stops.found or (self.ids and self.ids[-1] in self._end_ids) else None

    def over(self, room: int) -> bool:
        """Whether nothing more will come, with `room` for so many tokens."""
        return self.reason is not None or len(self.ids) >= room


def fit(prompt_tokens: int, sampling: Sampling, window: int) -> int:
    """How many tokens the answer may have. CTranslate2 knows no limit of position, so this one holds.

    Raises UsageError with the figures where the prompt leaves no room at all.
    """
    room = window - prompt_tokens
    if room < 1:
        raise UsageError(
            f"the prompt does not fit: {prompt_tokens} tokens with the chat so far, the context window has {window}",
            f"Shorten it by at least {1 - room} tokens or start a new chat",
        )
    return min(sampling.max_tokens, room)


def sampling_options(sampling: Sampling, device: str) -> dict[str, Any]:
    """CTranslate2's options for `sampling`."""
    if sampling.temperature == 0:
        return {"sampling_topk": 1, "repetition_penalty": sampling.repetition_penalty}
    top_k = sampling.top_k
    if device == "cuda" and sampling.top_p < 1:
        top_k = min(top_k or 8192, 8192)  # CUDA's top-p kernel sorts at most this many
    return {
        "sampling_topk": top_k,
        "sampling_topp": sampling.top_p,
        "sampling_temperature": sampling.temperature,
        "repetition_penalty": sampling.repetition_penalty,
    }


def timings(begun: float, first: float | None, last: float, tokens: int) -> Timings:
    """Times in ms from clock readings in s: TPOT = (last - first) / (tokens - 1)."""
    total = last - begun
    return Timings(
        ttft_ms=None if first is None else (first - begun) * 1000,
        tpot_ms=None if first is None or tokens < 2 else (last - first) * 1000 / (tokens - 1),
        total_ms=None if first is None else total * 1000,
        tokens_per_s=tokens / total if tokens and total > 0 else None,
    )
