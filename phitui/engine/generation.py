"""Answers one request: prompt to tokens, decode with a callback, tokens to text as they come."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

from phitui.engine.api import Delta, Finished, FinishReason, Generate, Sampling, Started, Timings, Usage
from phitui.engine.loading import Model, check_answers, is_out_of_memory
from phitui.engine.prompt import Detokenizer
from phitui.engine.recovery import wait_idle
from phitui.engine.step_clock import StepClock
from phitui.engine.stops import StopFinder
from phitui.errors import PhituiError, UnavailableError, UsageError

# Tokens that come closer together than this share a message, so that a fast card does not spend its host's time on
# messages. The first token never waits.
_GATHER_S = 0.02
_IDLE_POLL_S = 0.05

Token = tuple[int, float]  # id, time.perf_counter() when it was made


class Answer:
    """The answer to one request while it is being made. `cancelled` may be set from another thread; `queued` tells how
    many requests wait behind it; `meanwhile` is called every so often for what
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
        self._stops = StopFinder(request.sampling.stop)
        self._queued = queued
        self._request = request
        self._send = send
        self._made: queue.SimpleQueue[Token] = queue.SimpleQueue()
        self._ids: list[int] = []
        self._last_s = 0.0
        self._first_s: float | None = None
        self.cancelled = threading.Event()

    def run(self) -> None:
        """Make the whole answer and send its events. Raises PhituiError where it cannot be made."""
        begun = time.perf_counter()
        self._last_s = begun
        self._clock = StepClock(begun)
        prompt = self._model.prompt.tokens(self._request.turns)
        self._clock.tokenized(time.perf_counter(), len(prompt))
        room = fit(len(prompt), self._request.sampling, self._model.manifest.context_window)
        self._send(Started(self._request.id, len(prompt)))
        try:
            if not self.cancelled.is_set():
                self._decode(prompt, room)
        finally:
            self._pulse(last=True)  # also of one that fails: its time is work, and its decode is over
        self._send(
            Finished(
                self._request.id,
                self._reason(),
                Usage(len(prompt), len(self._ids)),
                timings(begun, self._first_s, self._last_s, len(self._ids)),
            )
        )

    def _decode(self, prompt: list[str], room: int) -> None:
        result = self._model.generator.generate_batch(
            [prompt],
            max_length=room,
            include_prompt_in_result=False,
            end_token=self._model.manifest.end_tokens,
            callback=self._on_token,
            asynchronous=True,
            **sampling_options(self._request.sampling, self._model.loaded.device),
        )[0]
        detokenizer = self._model.prompt.detokenizer()
        try:
            while not result.done():
                self._forward(detokenizer)
                self._meanwhile()
            result.result()
        except RuntimeError as error:
            raise self._failure(error) from error
        except BaseException:
            self.cancelled.set()  # nothing may leave here while the batch runs
            raise
        finally:
            if not self._meanwhile():  # leaving earlier can abort the process
                wait_idle(self._model.generator)
            self._forward(detokenizer, last=True)

    def _failure(self, error: RuntimeError) -> PhituiError:
        """The error for a person. After running out of memory the next call may fail once more for no reason of its
        own (CUDA keeps the old error): so one token is made here and its failure let pass."""
        if not is_out_of_memory(error):
            return PhituiError(f"the engine failed: {error}", "Try again; phitui doctor checks the machine")
        with contextlib.suppress(UnavailableError):
            check_answers(self._model)
        return PhituiError("memory ran out during this answer", "Start a new chat, or lower generation.max_tokens")

    def _on_token(self, step: Any) -> bool:
        """Runs on CTranslate2's thread, once per token. Returning True ends the answer. Must never raise: that
        aborts the process."""
        try:
            self._made.put((step.token_id, time.perf_counter()))
            return self.cancelled.is_set() or self._stops.found
        except BaseException:  # noqa: BLE001
            return True

    def _forward(self, detokenizer: Detokenizer, last: bool = False) -> None:
        """Wait a little for tokens and send the text they make."""
        tokens, text = self._read(self._drain(wait=not last), detokenizer)
        if last:
            text += self._stops.feed(detokenizer.flush()) + self._stops.flush()
        self._ids.extend(number for number, _ in tokens)
        if tokens:
            self._first_s = self._first_s or tokens[0][1]
            self._last_s = tokens[-1][1]
            self._clock.made([made_at for _, made_at in tokens])
        if text or tokens:
            self._send(Delta(self._request.id, text, len(self._ids)))
        if not last and self._clock.due(time.perf_counter()):
            self._pulse()
        if tokens and not last:
            time.sleep(_GATHER_S)

    def _read(self, tokens: list[Token], detokenizer: Detokenizer) -> tuple[list[Token], str]:
        """The tokens that belong to the answer, and their text: none after the one that completes a stop string."""
        text = ""
        for count, (number, _) in enumerate(tokens):
            if self._stops.found:
                return tokens[:count], text
            text += self._stops.feed(detokenizer.feed(number))
        return tokens, text

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

    def _reason(self) -> FinishReason:
        if self._stops.found or (self._ids and self._ids[-1] in self._model.prompt.end_ids):
            return "stop"
        return "cancelled" if self.cancelled.is_set() else "length"


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
