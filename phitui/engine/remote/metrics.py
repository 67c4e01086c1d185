"""What a server says of its own load: requests, KV cache, latencies. Pure but for `read_load`, which asks.

Names are those of vLLM 0.32 (vllm/v1/metrics/loggers.py; older names beside them), text-generation-inference 3.3
(docs/source/reference/metrics.md) and llama.cpp's server (tools/server/README.md). Where a server has several engines
(vLLM's data parallel), counts are added and of shares the largest is taken.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import httpx
import msgspec

from phitui.engine.remote.endpoint import Endpoint
from phitui.engine.remote.faults import Fault
from phitui.engine.remote.histogram import Histogram, histogram
from phitui.engine.remote.kinds import Server
from phitui.engine.remote.transport import decoded, get
from phitui.hardware.exporters.exposition import MetricSample, NotMetrics, samples

FIGURES = ("running", "waiting", "kv_use", "prefix", "ttft", "itl", "prompt_tokens", "generated_tokens")
_READINGS = 3
_MOST = 1e15  # no count of requests or tokens is larger
_Names = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class ServerLoad:
    """One reading, at `at` (monotonic, seconds). What is not known is None, with the reason in `missing` under its
    name in FIGURES.

    - `running`, `waiting`: requests that are being computed, and that wait for it. `kv_use`: share of the KV cache that
      is taken, 0 to 1.
    - Since the server's start: `prompt_tokens`, `generated_tokens`; `prefix_hits` of `prefix_queries` tokens of prompts
      that were in the cache; `ttft` and `itl` in seconds. `at_end`: tokens count when their request ends.
    """

    at: float
    running: int | None = None
    waiting: int | None = None
    kv_use: float | None = None
    prompt_tokens: float | None = None
    generated_tokens: float | None = None
    prefix_queries: float | None = None
    prefix_hits: float | None = None
    ttft: Histogram | None = None
    itl: Histogram | None = None
    at_end: bool = False
    missing: dict[str, str] = field(default_factory=dict)


async def read_load(http: httpx.AsyncClient, endpoint: Endpoint, server: Server) -> ServerLoad:
    """Ask the server for its load. Raises nothing that it says: what cannot be had is None with its reason.

    It takes at most `connect_timeout_s`; `http` is the client of this endpoint (`open_client`)."""
    reader = _READERS.get(server.kind)
    if reader is None:
        return _nothing("Ollama has no metrics" if server.kind == "ollama" else "not a server whose metrics are known")
    try:
        limit = endpoint.settings.connect_timeout_s
        found = await asyncio.wait_for(reader(http, endpoint), limit)
        return _nothing(found) if isinstance(found, str) else found
    except (TimeoutError, asyncio.TimeoutError):
        return _nothing(f"no answer within {limit:g} s")
    except Fault as fault:
        return _nothing(fault.error.message)


def _nothing(reason: str) -> ServerLoad:
    return ServerLoad(time.monotonic(), missing=dict.fromkeys(FIGURES, reason))


class _Sheet:
    """The wanted samples of one text. `names` has for each figure the names of its sample, the newest first; a figure
    that a kind does not have is in `missing`, with the reason."""

    def __init__(self, found: list[MetricSample], names: _Names, missing: Mapping[str, str]) -> None:
        self._found: dict[str, list[MetricSample]] = {}
        for sample in found:
            self._found.setdefault(sample.name, []).append(sample)
        self._names = names
        self._missing = dict(missing)

    def load(self) -> ServerLoad:
        """All figures."""
        running, waiting = self._total("running"), self._total("waiting")
        return ServerLoad(
            time.monotonic(),
            None if running is None else int(running),
            None if waiting is None else int(waiting),
            max(self._values("kv_use", "kv_use", 1.0), default=None),
            self._total("prompt_tokens"),
            self._total("generated_tokens"),
            self._total("queries", "prefix"),
            self._total("hits", "prefix"),
            self._times("ttft"),
            self._times("itl"),
            missing=self._missing,
        )

    def _total(self, of: str, figure: str = "") -> float | None:
        values = self._values(of, figure or of)
        return sum(values) if values else None

    def _values(self, of: str, figure: str, most: float = _MOST) -> list[float]:
        """The values under the first of the names that is there; those that cannot be are left out."""
        names = self._names.get(of, ())
        found: list[MetricSample] = next((self._found[name] for name in names if name in self._found), [])
        values = [sample.value for sample in found if 0 <= sample.value <= most]
        if names and not values:
            self._missing[figure] = f"the server has no {names[0]}"
        return values

    def _times(self, figure: str) -> Histogram | None:
        names = self._names.get(figure, ())
        for name in names:
            found = histogram(self._found.get(f"{name}_bucket", []))
            if found is not None:
                return found
        if names:
            self._missing[figure] = f"the server has no {names[0]}"
        return None


async def _read(
    names: _Names, missing: Mapping[str, str], http: httpx.AsyncClient, endpoint: Endpoint
) -> ServerLoad | str:
    """What /metrics tells, or why it tells nothing. Raises Fault where the server is not there."""
    status, _, body = await get(http, endpoint, "/metrics")
    if status != 200:
        return f"the server answers {status} to /metrics"
    buckets = {f"{name}_bucket" for figure in ("ttft", "itl") for name in names.get(figure, ())}
    try:
        # Some ten ms for a large text, which are not the screen's.
        found = await asyncio.to_thread(samples, body, frozenset(buckets.union(*names.values())))
    except NotMetrics as error:
        return endpoint.told(f"/metrics sends {error}", 300)
    return _Sheet(found, names, missing).load()


_VLLM = {
    "running": ("vllm:num_requests_running",),
    "waiting": ("vllm:num_requests_waiting",),
    "kv_use": ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"),
    "prompt_tokens": ("vllm:prompt_tokens_total",),
    "generated_tokens": ("vllm:generation_tokens_total",),
    "queries": ("vllm:prefix_cache_queries_total", "vllm:gpu_prefix_cache_queries_total"),
    "hits": ("vllm:prefix_cache_hits_total", "vllm:gpu_prefix_cache_hits_total"),
    "ttft": ("vllm:time_to_first_token_seconds",),
    "itl": ("vllm:inter_token_latency_seconds", "vllm:time_per_output_token_seconds"),
}
# `itl` is TGI's mean of each request; its tokens count when their request ends.
_TGI = {
    "running": ("tgi_batch_current_size",),
    "waiting": ("tgi_queue_size",),
    "prompt_tokens": ("tgi_request_input_length_sum",),
    "generated_tokens": ("tgi_request_generated_tokens_sum",),
    "itl": ("tgi_request_mean_time_per_token_duration",),
}
_TGI_LACKS = {
    "kv_use": "TGI does not report its KV cache",
    "prefix": "TGI does not count prefix hits",
    "ttft": "TGI does not measure it",
}
_LLAMA_CPP = {
    "running": ("llamacpp:requests_processing",),
    "waiting": ("llamacpp:requests_deferred",),
    "prompt_tokens": ("llamacpp:prompt_tokens_total",),
    "hits": ("llamacpp:prompt_tokens_cached_total",),
    "generated_tokens": ("llamacpp:tokens_predicted_total",),
}
_LLAMA_CPP_LACKS = dict.fromkeys(("ttft", "itl"), "llama.cpp has no histograms")


async def _tgi(http: httpx.AsyncClient, endpoint: Endpoint) -> ServerLoad | str:
    found = await _read(_TGI, _TGI_LACKS, http, endpoint)
    return found if isinstance(found, str) else replace(found, at_end=True)


class _Slot(msgspec.Struct):
    """One of llama.cpp's places for a prompt. `n_prompt_tokens` has what was generated in it, too; how much that is
    stands in `next_token`, which is an object or a list of one, or beside it in older versions."""

    is_processing: bool
    n_ctx: Any = None
    n_prompt_tokens: Any = 0
    next_token: Any = None
    n_decoded: Any = None

    @property
    def decoded(self) -> int | None:
        """Tokens that the request on its way has made."""
        told = self.next_token[0] if isinstance(self.next_token, list) and self.next_token else self.next_token
        found = told.get("n_decoded") if isinstance(told, dict) else self.n_decoded
        return found if type(found) is int and 0 <= found <= _MOST else None


async def _llama_cpp(http: httpx.AsyncClient, endpoint: Endpoint) -> ServerLoad:
    """/metrics is there with --metrics. /slots tells the KV cache and, without /metrics, what runs."""
    load, slots = await _at_one_time(http, endpoint)
    if isinstance(load, str):
        load = _nothing(f"{load}; it may have been started without --metrics")
        if slots:
            del load.missing["running"]
            load = replace(load, running=_busy(slots))
    else:
        load = replace(load, generated_tokens=_with_running(load, slots))
    if load.prompt_tokens is not None and load.prefix_hits is not None:  # prompt_tokens_total leaves cached ones out
        load = replace(load, prefix_queries=load.prompt_tokens + load.prefix_hits)
    kv_use = _kv_use(slots)
    load.missing.pop("kv_use", None)
    if kv_use is None:
        load.missing["kv_use"] = "the server's /slots does not report it"
    return replace(load, kv_use=kv_use)


def _busy(slots: list[_Slot]) -> int:
    return sum(slot.is_processing for slot in slots)


def _with_running(load: ServerLoad, slots: list[_Slot]) -> float | None:
    """All tokens that were made: /metrics counts those of a request when it ends, /slots those of the ones on their
    way."""
    ended, made = load.generated_tokens, [slot.decoded for slot in slots if slot.is_processing]
    if ended is None or (not load.running and not made):
        return ended
    if not made or None in made:
        load.missing["generated_tokens"] = (
            "the server counts tokens when an answer ends, and /slots does not report them"
        )
        return None
    return ended + sum(one or 0 for one in made)


async def _at_one_time(http: httpx.AsyncClient, endpoint: Endpoint) -> tuple[ServerLoad | str, list[_Slot]]:
    """/metrics and /slots: read anew where a request has begun or ended in between, since its tokens would count twice
    or not at all."""
    for _ in range(_READINGS):
        load = await _read(_LLAMA_CPP, _LLAMA_CPP_LACKS, http, endpoint)
        status, _, body = await get(http, endpoint, "/slots")
        slots = (decoded(body, list[_Slot]) or []) if status == 200 else []
        if isinstance(load, str) or not slots or load.running == _busy(slots):
            break
    return load, slots


def _kv_use(slots: list[_Slot]) -> float | None:
    """The share of all slots' context that requests on their way have filled."""
    sizes = [slot.n_ctx for slot in slots]
    taken = [slot.n_prompt_tokens for slot in slots if slot.is_processing]
    if not sizes or not all(type(n) is int and 0 <= n <= 10**9 for n in sizes + taken) or not sum(sizes):
        return None
    return min(float(sum(taken) / sum(sizes)), 1.0)


_READERS: dict[str, Callable[[httpx.AsyncClient, Endpoint], Coroutine[Any, Any, ServerLoad | str]]] = {
    "vllm": partial(_read, _VLLM, {}),
    "tgi": _tgi,
    "llama.cpp": _llama_cpp,
}
