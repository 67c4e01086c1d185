"""CTranslate2 alone on a list of prompts: reads JSON lines of runs, prints one JSON line for each.

A run is {"rows": [[token, …], …], "limits": [n, …], "batch": B, "order": "own" | "file", "stop": bool,
"prefix": [token, …]}. "own" is one generate_batch over the whole list with max_batch_size B, which CTranslate2 sorts by
itself, the longest first; "file" hands it the rows in their order, B at a time, without waiting. "prefix" is a
static_prompt, which all rows begin with and do not have themselves. With "stop" a callback ends each row at its own
limit; without it all rows have the first one's, and there is no callback.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

import ctranslate2

from phitui.engine.worker.cuda import preload_cublas


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--compute-type", required=True)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--end-tokens", nargs="+", required=True)
    args = parser.parse_args()
    if args.device == "cuda":
        preload_cublas()
    generator = ctranslate2.Generator(
        args.folder, device=args.device, compute_type=args.compute_type,
        inter_threads=args.workers, intra_threads=args.threads,
    )  # fmt: skip
    print("ready", flush=True)
    for line in sys.stdin:
        run = json.loads(line)
        begun, cpu = time.perf_counter(), time.process_time()
        tokens = generate(generator, run, args.end_tokens)
        took = {"seconds": time.perf_counter() - begun, "cpu_s": time.process_time() - cpu}
        print(json.dumps({"tokens": tokens, **took}), flush=True)


def generate(generator: Any, run: dict[str, Any], end_tokens: list[str]) -> int:
    """Run it; how many tokens were made."""
    rows, batch = run["rows"], run["batch"]
    starts = range(0, len(rows), batch) if run["order"] == "file" else [0]
    size = batch if run["order"] == "file" else len(rows)
    results = []
    for start in starts:
        limits = run["limits"][start : start + size]
        options = {"callback": stopper(limits)} if run["stop"] else {}
        if run["prefix"]:
            options["static_prompt"] = run["prefix"]
        results += generator.generate_batch(
            rows[start : start + size], max_batch_size=batch, max_length=max(limits), include_prompt_in_result=False,
            end_token=end_tokens, return_end_token=True, sampling_topk=1, asynchronous=True, **options,
        )  # fmt: skip
    return sum(len(result.result().sequences_ids[0]) for result in results)


def stopper(limits: list[int]) -> Any:
    """A callback that ends each row at its own limit, and does nothing else."""
    left = list(limits)

    def on_token(step: Any) -> bool:
        left[step.batch_id] -= 1
        over: bool = left[step.batch_id] <= 0
        return over

    return on_token


if __name__ == "__main__":
    main()
