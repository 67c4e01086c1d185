"""What a server says of its own load: requests, KV cache, latencies. Pure but for `read_load`, which asks.

Names are those of vLLM 0.32 (vllm/v1/metrics/loggers.py; older names beside them), text-generation-inference 3.3
(docs/source/reference/metrics.md) and llama.cpp's server (tools/server/README.md). Where a server has several engines
(vLLM's data parallel), counts are added and of shares the largest is taken.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
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
_MOST = 1e15  # no count of requests or tokens is larger


@dataclass(frozen=True)
class ServerLoad:
    """One reading, at `at` (monotonic, seconds). What is not known is None, with the reason in `missing` under its
    name in FIGURES.

    - `running`, `waiting`: requests that are being computed, and that wait for it. `kv_use`: share of the KV cache that
      is taken, 0 to 1.
    - Since the server's start: `prompt_tokens`, `generated_tokens`; `prefix_hits` of `prefix_queries` tokens of prompts
      that were in the cache; `ttft` and `itl` in seconds.
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
    missing: dict[str, str] = field(default_factory=dict)


async def read_load(http: httpx.AsyncClient, endpoint: Endpoint, server: Server) -> ServerLoad:
    """Ask the server for its load. Raises nothing that it says: what cannot be had is None with its reason.

    It takes at most `connect_timeout_s`; `http` is the client of this endpoint (`open_client`)."""
    reader = _READERS.get(server.kind)
    if reader is None:
        return _nothing("Ollama has no metrics" if server.kind == "ollama" else "not a server whose metrics are known")
    try:
        limit = endpoint.settings.connect_timeout_s
        return await asyncio.wait_for(reader(http, endpoint), limit)
    except (TimeoutError, asyncio.TimeoutError):
        return _nothing(f"no answer within {limit:g} s")
    except Fault as fault:
        return _nothing(fault.error.message)


def _nothing(reason: str) -> ServerLoad:
    return ServerLoad(time.monotonic(), missing=dict.fromkeys(FIGURES, reason))


class _Sheet:
    """The wanted samples of one text, by name."""

    def __init__(self, found: list[MetricSample]) -> None:
        self._found: dict[str, list[MetricSample]] = {}
        for sample in found:
            self._found.setdefault(sample.name, []).append(sample)
        self.missing: dict[str, str] = {}

    def values(self, names: tuple[str, ...], most: float = _MOST) -> list[float]:
        """The values under the first of the names that is there; those that cannot be are left out."""
        for name in names:
            if name in self._found:
                return [sample.value for sample in self._found[name] if 0 <= sample.value <= most]
        return []

    def total(self, figure: str, *names: str) -> float | None:
        values = self.values(names)
        if not values:
            self.missing[figure] = f"the server has no {names[0]}"
            return None
        return sum(values)

    def count(self, figure: str, *names: str) -> int | None:
        total = self.total(figure, *names)
        return None if total is None else int(total)

    def share(self, figure: str, *names: str) -> float | None:
        values = self.values(names, 1.0)
        if not values:
            self.missing[figure] = f"the server has no {names[0]}"
        return max(values, default=None)

    def times(self, figure: str, *names: str) -> Histogram | None:
        for name in names:
            found = histogram(self._found.get(f"{name}_bucket", []))
            if found is not None:
                return found
        self.missing[figure] = f"the server has no {names[0]}"
        return None


async def _sheet(http: httpx.AsyncClient, endpoint: Endpoint, wanted: frozenset[str]) -> _Sheet | str:
    """The wanted samples of /metrics, or why there are none. Raises Fault where the server is not there."""
    status, _, body = await get(http, endpoint, "/metrics")
    if status != 200:
        return f"the server answers {status} to /metrics"
    try:
        # Some ten ms for a large text, which are not the screen's.
        return _Sheet(await asyncio.to_thread(samples, body, wanted))
    except NotMetrics as error:
        return endpoint.told(f"/metrics sends {error}", 300)


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
_TGI = {
    "running": ("tgi_batch_current_size",),
    "waiting": ("tgi_queue_size",),
    "prompt_tokens": ("tgi_request_input_length_sum",),
    "generated_tokens": ("tgi_request_generated_tokens_sum",),
    "itl": ("tgi_request_mean_time_per_token_duration",),
}
_LLAMA_CPP = {
    "running": ("llamacpp:requests_processing",),
    "waiting": ("llamacpp:requests_deferred",),
    "prompt_tokens": ("llamacpp:prompt_tokens_total",),
    "cached": ("llamacpp:prompt_tokens_cached_total",),
    "generated_tokens": ("llamacpp:tokens_predicted_total",),
}


def _wanted(names: Mapping[str, tuple[str, ...]]) -> frozenset[str]:
    """All names of a kind; of a histogram its buckets."""
    buckets = {f"{name}_bucket" for figure in ("ttft", "itl") for name in names.get(figure, ())}
    return frozenset(buckets.union(*names.values()))


async def _vllm(http: httpx.AsyncClient, endpoint: Endpoint) -> ServerLoad:
    sheet = await _sheet(http, endpoint, _wanted(_VLLM))
    if isinstance(sheet, str):
        return _nothing(sheet)
    return ServerLoad(
        time.monotonic(),
        sheet.count("running", *_VLLM["running"]),
        sheet.count("waiting", *_VLLM["waiting"]),
        sheet.share("kv_use", *_VLLM["kv_use"]),
        sheet.total("prompt_tokens", *_VLLM["prompt_tokens"]),
        sheet.total("generated_tokens", *_VLLM["generated_tokens"]),
        sheet.total("prefix", *_VLLM["queries"]),
        sheet.total("prefix", *_VLLM["hits"]),
        sheet.times("ttft", *_VLLM["ttft"]),
        sheet.times("itl", *_VLLM["itl"]),
        sheet.missing,
    )


async def _tgi(http: httpx.AsyncClient, endpoint: Endpoint) -> ServerLoad:
    """`itl` is TGI's mean of each request; tokens count when their request ends."""
    sheet = await _sheet(http, endpoint, _wanted(_TGI))
    if isinstance(sheet, str):
        return _nothing(sheet)
    sheet.missing |= {
        "kv_use": "TGI does not tell its KV cache",
        "prefix": "TGI does not count prefix hits",
        "ttft": "TGI does not measure it",
    }
    return ServerLoad(
        time.monotonic(),
        sheet.count("running", *_TGI["running"]),
        sheet.count("waiting", *_TGI["waiting"]),
        None,
        sheet.total("prompt_tokens", *_TGI["prompt_tokens"]),
        sheet.total("generated_tokens", *_TGI["generated_tokens"]),
        itl=sheet.times("itl", *_TGI["itl"]),
        missing=sheet.missing,
    )


class _Slot(msgspec.Struct):
    """One of llama.cpp's places for a prompt. `n_prompt_tokens` has what was generated in it, too."""

    is_processing: bool
    n_ctx: Any = None
    n_prompt_tokens: Any = 0


async def _llama_cpp(http: httpx.AsyncClient, endpoint: Endpoint) -> ServerLoad:
    """/metrics is there with --metrics. /slots tells the KV cache and, without /metrics, what runs."""
    sheet = await _sheet(http, endpoint, _wanted(_LLAMA_CPP))
    slots = await _slots(http, endpoint)
    if isinstance(sheet, str):
        why = f"{sheet}; it may have been started without --metrics"
        sheet = _Sheet([])
        running = sum(slot.is_processing for slot in slots) if slots else None
        sheet.missing = dict.fromkeys(FIGURES, why)
        figures: tuple[Any, ...] = (running, None, None, None)
        cached = None
    else:
        figures = tuple(sheet.count(name, *_LLAMA_CPP[name]) for name in ("running", "waiting"))
        figures += tuple(sheet.total(name, *_LLAMA_CPP[name]) for name in ("prompt_tokens", "generated_tokens"))
        cached = sheet.total("prefix", *_LLAMA_CPP["cached"])
        sheet.missing |= dict.fromkeys(("ttft", "itl"), "llama.cpp has no histograms")
    running, waiting, prompt, generated = figures
    kv_use = _kv_use(slots)
    known = {name for name, value in (("running", running), ("kv_use", kv_use)) if value is not None}
    missing = {name: why for name, why in sheet.missing.items() if name not in known}
    if kv_use is None:
        missing["kv_use"] = "the server's /slots does not tell it"
    queries = None if prompt is None or cached is None else prompt + cached  # prompt_tokens_total leaves cached out
    return ServerLoad(time.monotonic(), running, waiting, kv_use, prompt, generated, queries, cached, missing=missing)


async def _slots(http: httpx.AsyncClient, endpoint: Endpoint) -> list[_Slot]:
    status, _, body = await get(http, endpoint, "/slots")
    return (decoded(body, list[_Slot]) or []) if status == 200 else []


def _kv_use(slots: list[_Slot]) -> float | None:
    """The share of all slots' context that requests on their way have filled."""
    sizes = [slot.n_ctx for slot in slots]
    taken = [slot.n_prompt_tokens for slot in slots if slot.is_processing]
    if not sizes or not all(type(n) is int and 0 <= n <= 10**9 for n in sizes + taken) or not sum(sizes):
        return None
    return min(float(sum(taken) / sum(sizes)), 1.0)


_READERS: dict[str, Callable[[httpx.AsyncClient, Endpoint], Any]] = {
    "vllm": _vllm,
    "tgi": _tgi,
    "llama.cpp": _llama_cpp,
}
