"""The engine alone: one generate_batch with a callback in a bare process, run each time a line comes in.

Each run prints one JSON line: tokens, and tokens/s after the first one ((n - 1) / (last - first)), which is what the
console shows as tok/s.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

import ctranslate2
from tokenizers import Tokenizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--prompt", required=True, help="the prompt as the chat template renders it")
    parser.add_argument("--end-token", required=True)
    parser.add_argument("--max-tokens", type=int, required=True)
    args = parser.parse_args()
    generator = ctranslate2.Generator(args.folder, device="cpu", compute_type="int8", intra_threads=args.threads)
    tokenizer = Tokenizer.from_file(f"{args.folder}/tokenizer.json")
    tokens = tokenizer.encode(args.prompt, add_special_tokens=False).tokens
    print("ready", flush=True)
    for _ in sys.stdin:
        times: list[float] = []

        def on_token(_: Any, times: list[float] = times) -> bool:
            times.append(time.perf_counter())
            return False

        generator.generate_batch(
            [tokens], max_length=args.max_tokens, sampling_topk=1, include_prompt_in_result=False,
            end_token=[args.end_token], callback=on_token,
        )  # fmt: skip
        rate = (len(times) - 1) / (times[-1] - times[0])
        print(json.dumps({"tokens": len(times), "tokens_per_s": rate}), flush=True)


if __name__ == "__main__":
    main()
