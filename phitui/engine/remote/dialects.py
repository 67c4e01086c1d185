"""How each kind of server is asked: its path, the request's form, and the form of what it streams.

Which parameters a form has is also in engine/protocol/capabilities.py.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx

from phitui.engine.protocol.api import Sampling, Turn
from phitui.engine.remote.pieces import Piece, ollama_pieces, openai_pieces
from phitui.engine.remote.plain_chat import ends_of, prompt_of
from phitui.engine.remote.tgi_pieces import before_stops, tgi_pieces

_Body = Callable[[str, list[Turn], Sampling], dict[str, Any]]


@dataclass(frozen=True)
class Dialect:
    """`body` makes a request of model, turns and sampling. `shows_stops`: the server streams the stop string that ends
    an answer as part of it."""

    path: str
    body: _Body
    pieces: Callable[[httpx.Response], AsyncIterator[Piece]]
    lines_are_events: bool = False
    shows_stops: bool = False

    def read(self, response: httpx.Response, body: dict[str, Any]) -> AsyncIterator[Piece]:
        """The answer to `body`. Raises Garbled, TooMuch, and what httpx raises."""
        pieces = self.pieces(response)
        return before_stops(pieces, body.get("parameters", body)["stop"]) if self.shows_stops else pieces


def _messages(turns: list[Turn]) -> list[dict[str, str]]:
    return [{"role": turn.role, "content": turn.content} for turn in turns]


def _openai(model: str, turns: list[Turn], sampling: Sampling) -> dict[str, Any]:
    """What every such server knows. Others refuse a request with a field that they do not know."""
    body = {
        "model": model,
        "messages": _messages(turns),
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if 0 < sampling.top_p < 1:  # TGI refuses 1
        body["top_p"] = sampling.top_p
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    return body


def _tgi(model: str, turns: list[Turn], sampling: Sampling) -> dict[str, Any]:
    return _openai(model, turns, sampling) | _seed(sampling)


def _tgi_generate(model: str, turns: list[Turn], sampling: Sampling) -> dict[str, Any]:
    """TGI takes a temperature, top_k or top_p that is there for a wish to draw, and refuses 0 for each and a top_p of 1
    (router/src/validation.rs)."""
    parameters: dict[str, Any] = {
        "max_new_tokens": sampling.max_tokens,
        "do_sample": sampling.temperature > 0,
        "details": True,
        "stop": list(dict.fromkeys((*sampling.stop, *ends_of(model)))),
    }
    if sampling.temperature > 0:
        parameters["temperature"] = sampling.temperature
        parameters |= {"top_k": sampling.top_k} if sampling.top_k else {}
        parameters |= {"top_p": sampling.top_p} if 0 < sampling.top_p < 1 else {}
    if sampling.repetition_penalty != 1.0:
        parameters["repetition_penalty"] = sampling.repetition_penalty
    return {"inputs": prompt_of(model, turns), "parameters": parameters | _seed(sampling)}


def _seed(sampling: Sampling) -> dict[str, Any]:
    return {} if sampling.seed is None else {"seed": sampling.seed}


def _vllm(model: str, turns: list[Turn], sampling: Sampling) -> dict[str, Any]:
    body = _openai(model, turns, sampling)
    body["stream_options"] = {"include_usage": True, "continuous_usage_stats": True}
    return body | _more(sampling, "repetition_penalty")


def _llama_cpp(model: str, turns: list[Turn], sampling: Sampling) -> dict[str, Any]:
    body = _openai(model, turns, sampling)
    body["timings_per_token"] = True  # the count so far with every piece
    return body | _more(sampling, "repeat_penalty")


def _more(sampling: Sampling, penalty: str) -> dict[str, Any]:
    more: dict[str, Any] = {"top_k": sampling.top_k} if sampling.top_k else {}
    more |= _seed(sampling)
    return more | ({penalty: sampling.repetition_penalty} if sampling.repetition_penalty != 1.0 else {})


def _ollama(model: str, turns: list[Turn], sampling: Sampling) -> dict[str, Any]:
    options: dict[str, Any] = {
        "num_predict": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
    }
    if sampling.stop:
        options["stop"] = list(sampling.stop)
    return {
        "model": model,
        "messages": _messages(turns),
        "stream": True,
        "options": options | _more(sampling, "repeat_penalty"),
    }


def _completions(model: str, turns: list[Turn], sampling: Sampling, chat: _Body) -> dict[str, Any]:
    """The body of /v1/completions: as for the chat, with a prompt that is made here."""
    body = chat(model, turns, sampling)
    del body["messages"]
    return body | {"prompt": prompt_of(model, turns), "stop": list(dict.fromkeys((*sampling.stop, *ends_of(model))))}


def _tgi_completions(model: str, turns: list[Turn], sampling: Sampling) -> dict[str, Any]:
    """It takes the name of a model for that of an adapter (`completions` in router/src/server.rs)."""
    body = _completions(model, turns, sampling, _tgi) | {"model": "tgi"}
    del body["stream_options"]  # the counts are in the last event anyway
    return body | ({"repetition_penalty": sampling.repetition_penalty} if sampling.repetition_penalty != 1.0 else {})


_CHAT, _TEXT = "/v1/chat/completions", "/v1/completions"
# Ollama's OpenAI-style route leaves counts out where a prompt was cached, and bounds no options: its own has all.
DIALECTS = {
    "vllm": Dialect(_CHAT, _vllm, openai_pieces),
    "tgi": Dialect(_CHAT, _tgi, openai_pieces),
    "tgi generate": Dialect("/generate_stream", _tgi_generate, tgi_pieces, shows_stops=True),
    "llama.cpp": Dialect(_CHAT, _llama_cpp, openai_pieces),
    "ollama": Dialect("/api/chat", _ollama, ollama_pieces, lines_are_events=True),
    "other": Dialect(_CHAT, _openai, openai_pieces),
    "vllm completions": Dialect(_TEXT, partial(_completions, chat=_vllm), openai_pieces),
    "tgi completions": Dialect(_TEXT, _tgi_completions, openai_pieces, shows_stops=True),
    "llama.cpp completions": Dialect(_TEXT, partial(_completions, chat=_llama_cpp), openai_pieces),
    "other completions": Dialect(_TEXT, partial(_completions, chat=_openai), openai_pieces),
}
