"""A part of benchmarks/gpu.py: transformers on torch, where it is installed, with random weights of the same sizes."""

from __future__ import annotations

import importlib
import importlib.util
import time
from typing import Any

from checkpoint import config
from gpu_common import Report, Settings

from phitui.engine.protocol.latency import decode_rate, gaps, output_rate, spread, tpot

_BATCHES = (1, 8, 26)


def peer(settings: Settings, report: Report) -> None:
    """The same batches and lengths as the part `bench`."""
    missing = [name for name in ("torch", "transformers") if importlib.util.find_spec(name) is None]
    if missing:
        report.tell(skipped=f"{' and '.join(missing)} not installed")
        return
    torch: Any = importlib.import_module("torch")
    transformers: Any = importlib.import_module("transformers")

    report.tell(torch=str(torch.__version__), transformers=transformers.__version__)
    if settings.device == "cuda" and not torch.cuda.is_available():
        report.tell(skipped="torch sees no CUDA device")
        return
    found: dict[str, Any] = {}
    for name in ("bfloat16", "float16") if settings.device == "cuda" else ("float32",):
        model = _model(torch, transformers, settings, getattr(torch, name))
        found[name] = {}
        for batch in _BATCHES:
            found[name][str(batch)] = _guarded(torch, model, settings, batch, 1 if name == "float16" else 2)
            report.tell(types=found)
        del model


def _model(torch: Any, transformers: Any, settings: Settings, dtype: Any) -> Any:
    """The model on the device, made there: random weights need no way through the host."""
    values = {**config(settings.dims), "sliding_window": None, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    values.pop("model_type")
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(settings.device):
            return transformers.Phi3ForCausalLM(transformers.Phi3Config(**values)).eval()
    finally:
        torch.set_default_dtype(before)


def _guarded(torch: Any, model: Any, settings: Settings, batch: int, runs: int) -> dict[str, Any]:
    try:
        return _batch(torch, model, settings, batch, runs)
    except (RuntimeError, MemoryError) as error:
        return {"problem": str(error).splitlines()[0][:200]}


def _batch(torch: Any, model: Any, settings: Settings, batch: int, runs: int) -> dict[str, Any]:
    prompt, new = (32, 16) if settings.small else (256, 128)
    ids = torch.randint(3, settings.dims.vocabulary, (batch, prompt), device=settings.device)
    if settings.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    _generate(torch, model, ids, min(new, 16))
    rows = [_generate(torch, model, ids, new) for _ in range(runs)]  # all rows of a batch are in lock-step
    best = min(rows, key=lambda row: row[-1])
    gap = tpot(best)
    steps = spread(gaps([best]))
    return {
        "ttft_ms": round(best[0] * 1000, 3),
        "tpot_ms": None if gap is None else round(gap * 1000, 3),
        "itl_p95_ms": None if steps is None else round(steps.p95 * 1000, 3),
        "output_tokens_per_s": round(output_rate([best] * batch), 2),
        "decode_tokens_per_s": None if gap is None else round(decode_rate([best] * batch) or 0.0, 2),
        "peak_bytes": int(torch.cuda.max_memory_allocated()) if settings.device == "cuda" else None,
    }


def _generate(torch: Any, model: Any, ids: Any, new: int) -> list[float]:
    """When each token was made, in seconds since the call."""
    times: list[float] = []

    def note(*_: Any, **__: Any) -> Any:
        if ids.is_cuda:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - begun)
        return torch.zeros(ids.shape[0], dtype=torch.bool, device=ids.device)

    with torch.inference_mode():
        begun = time.perf_counter()
        model.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, min_new_tokens=new, max_new_tokens=new,
            stopping_criteria=[note],
        )  # fmt: skip
    return times
