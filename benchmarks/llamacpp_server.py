"""Runs in the peer's own environment: llama.cpp's HTTP server on a GGUF file. Prints its port, ends with its input."""

from __future__ import annotations

import argparse
import sys
from urllib.parse import urlsplit

import xllamacpp  # type: ignore[import-untyped]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file")
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--context", type=int, required=True, help="tokens of a row")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    params = xllamacpp.CommonParams()
    params.model.path = args.file
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_parallel = args.rows
    params.n_ctx = args.rows * args.context
    params.cpuparams.n_threads = args.threads
    params.cpuparams_batch.n_threads = args.threads
    params.cache_ram_mib = 0
    params.cache_prompt = False
    server = xllamacpp.Server(params)
    print(f"port {urlsplit(server.listening_address).port}", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
