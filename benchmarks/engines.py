"""The same weights on three engines, on the same machine, each measured by one run of `phitui bench`.

    python benchmarks/engines.py [--vllm PYTHON] [--sizes 1,8,26] [--prompt-tokens 256] [--max-tokens 64] [--repeat 3]

- CTranslate2, phitui's own engine: the demo model's weights in int8; with one worker of one thread, as the others have,
  and with a worker of one thread for each core, which is what `phitui tune` finds on a CPU.
- llama.cpp's server (the package xllamacpp): the same weights as Q8_0.
- vLLM's CPU build, where `--vllm` names the python of an environment that has it: the same weights as a Hub folder,
  in bfloat16, which is what it makes of float32 weights.

Servers have one compute thread, and no cache of prompts: the chat template begins each prompt alike. The precisions are
not the same, because no type is common to the three at their best; each row of the table names its own. Prompts have so
many tokens by each engine's own count, answers exactly so many. Local rows are one batch; of a server they are requests
sent at once. Results go to benchmarks/results/engines.json, the table to docs/ENGINES.md.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import llamacpp
from demo_home import demo_home
from hub_folder import hub_folder
from report import CACHE, machine, publish
from terminal import command, environment

DOCS = Path(__file__).resolve().parent.parent / "docs" / "ENGINES.md"
_VLLM_START_S = 300
_INTRODUCTION = """# Engines on the same weights

Made by `benchmarks/engines.py` from `benchmarks/results/engines.json`; its docstring says how. SmolLM2-135M-Instruct,
{prompt} prompt tokens, {new} new tokens, medians of {repeat} runs. Machine: {machine}.

The precisions differ, and so does what is counted: the local engine's rows are one batch in its own process; a
server's are requests over the loopback, timed at this end, so its figures have HTTP in them. Threads are those that
compute, of the local engine as workers × threads of each. No engine keeps anything of an earlier prompt.

"""


def bench(home: Path, engine: str, args: argparse.Namespace, workers: int = 1) -> dict[str, Any]:
    """One result of `phitui bench --json`, of the local engine with so many workers of one thread."""
    settings = home / "engines.toml"
    settings.write_text(f"[engine]\nworkers = {workers}\nthreads = 1\n", encoding="utf-8")
    words = ["--config", str(settings), "--engine", engine, "bench", "--json", "--batch-sizes", args.sizes]
    words += ["--repeat", str(args.repeat), "--prompt-tokens", str(args.prompt_tokens)]
    words += ["--max-tokens", str(args.max_tokens)]
    done = subprocess.run(command(*words), env=environment(home), capture_output=True, check=False, text=True)
    if done.returncode:
        raise SystemExit(f"{engine}: {done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@contextlib.contextmanager
def vllm_server(python: Path, model: Path, window: int) -> Iterator[str]:
    """The address of vLLM's server. It is eager and in one process: compiling would take longer than the runs."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    words = [str(python), "-m", "vllm.entrypoints.openai.api_server", "--model", str(model), "--port", str(port)]
    words += ["--host", "127.0.0.1", "--max-model-len", str(window), "--max-num-seqs", "64", "--enforce-eager"]
    words += ["--no-enable-prefix-caching"]
    own = {
        "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "VLLM_CACHE_ROOT": str(CACHE / "vllm"),
        "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_CPU_OMP_THREADS_BIND": str(min(os.sched_getaffinity(0))), "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with (CACHE / "vllm.log").open("w") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log, env={**kept, **own})
    try:
        _wait(f"http://127.0.0.1:{port}/health", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _VLLM_START_S
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError, urllib.error.URLError), urllib.request.urlopen(url, timeout=5) as answer:
            if answer.status == 200:
                return
        time.sleep(0.5)
    raise SystemExit(f"vLLM's server does not start: see {CACHE / 'vllm.log'}")


def runs(args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """The results by engine, with the precision and the threads of each."""
    sizes = [int(size) for size in args.sizes.split(",")]
    window = 2 * (args.prompt_tokens + args.max_tokens) + 64  # the template's tokens, and prompts of unlike length
    found: dict[str, dict[str, Any]] = {}
    home = demo_home()
    cores = len(os.sched_getaffinity(0))
    found["CTranslate2"] = {"precision": "int8", "threads": "1 × 1", "result": bench(home, "ct2", args)}
    tuned = bench(home, "ct2", args, workers=cores)
    found["CTranslate2, a worker a core"] = {"precision": "int8", "threads": f"{cores} × 1", "result": tuned}
    with llamacpp.LlamaServer(max(sizes), window) as server:
        found["llama.cpp"] = {"precision": "Q8_0", "threads": "1", "result": bench(home, server.url, args)}
    if args.vllm is not None:
        model = hub_folder(llamacpp.original(), home / "models" / "smollm2-135m" / "tokenizer.json")
        with vllm_server(args.vllm, model, max(window, 1024)) as url:
            found["vLLM"] = {"precision": "bfloat16", "threads": "1", "result": bench(home, url, args)}
    return found


def table(found: dict[str, Any]) -> str:
    """The page in docs, from the results alone."""
    work = found["workload"]
    about = found["machine"]
    text = _INTRODUCTION.format(
        prompt=work["prompt_tokens"], new=work["max_tokens"], repeat=work["repeat"],
        machine=", ".join(f"{name} {value}" for name, value in about.items() if isinstance(value, str | int | float)),
    )  # fmt: skip
    names = ["output tok/s", "decode tok/s", "TTFT p50 ms", "TPOT p50 ms", "ITL p95 ms"]
    rows = [f"| engine | precision | threads | at once | {' | '.join(names)} |"]
    rows.append(f"| --- | --- | ---: | ---: |{' ---: |' * len(names)}")
    for name, one in found["engines"].items():
        for each in one["result"]["results"]:
            figures = [
                each["output_tokens_per_s"], each["decode_tokens_per_s"], _of(each, "ttft_ms", "p50"),
                _of(each, "tpot_ms", "p50"), _of(each, "itl_ms", "p95"),
            ]  # fmt: skip
            cells = ["–" if value is None else f"{value:.4g}" for value in figures]
            rows.append(f"| {name} | {one['precision']} | {one['threads']} | {each['batch']} | {' | '.join(cells)} |")
    missing = [] if "vLLM" in found["engines"] else ["", "vLLM was not measured: no environment with it was named."]
    notes = [f"- {name}: {note}" for name, one in found["engines"].items() for note in one["result"]["notes"]]
    return text + "\n".join([*rows, *missing, "", *notes]).rstrip() + "\n"


def _of(result: dict[str, Any], figure: str, which: str) -> float | None:
    return None if result[figure] is None else float(result[figure][which])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--vllm", type=Path, metavar="PYTHON", help="the python of an environment that has vLLM")
    parser.add_argument("--sizes", default="1,8,26")
    parser.add_argument("--prompt-tokens", type=int, default=256)
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--dry", action="store_true", help="print the table and keep none")
    args = parser.parse_args()
    about = machine()
    work = {"prompt_tokens": args.prompt_tokens, "max_tokens": args.max_tokens, "repeat": args.repeat}
    found = {"machine": about, "workload": work, "engines": runs(args)}
    if args.dry:
        print(table(found))
        return
    publish("engines", found)
    DOCS.write_text(table(found), encoding="utf-8")


if __name__ == "__main__":
    main()
