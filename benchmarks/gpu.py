"""Figures of phitui on one machine with an NVIDIA GPU: one command, no network, within 8 minutes, one JSON.

    python benchmarks/gpu.py

It makes a Phi-3 Mini of true size with random weights (3.8 GB below .cache, kept), and runs each part in a process of
its own with a limit of time: a part that fails or is too slow is recorded with its reason, and the others go on. The
result is written after each part. `--device cpu --small` runs all that a CPU can on a tiny model, in two minutes.
Beside the result goes the driver's dump, of which tests/drivers/from_dump.py makes a profile of the stand-in driver.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import re
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))  # whether or not phitui is installed here

from gpu_common import Report, Settings  # noqa: E402
from gpu_cublas import cublas  # noqa: E402
from report import CACHE, RESULTS  # noqa: E402

from phitui.core.files import replace_file  # noqa: E402
from phitui.hardware.host.cpu import cpu_name  # noqa: E402
from phitui.hardware.nvml.probe import probe_driver  # noqa: E402

# Seconds for each part, in order: what counts most comes first. Kernels may be compiled for minutes in `first_load`.
PARTS = {
    "make": 120,
    "first_load": 240,
    "tune": 120,
    "bench": 110,
    "batch": 110,
    "oom": 60,
    "memory": 60,
    "steps": 60,
    "workers": 40,
    "bandwidth": 50,
    "parking": 45,
    "longrope": 30,
    "peer": 90,
}
NEEDS_MODEL = set(PARTS) - {"make", "longrope", "peer"}
PACKAGES = (
    "phitui",
    "ctranslate2",
    "tokenizers",
    "numpy",
    "nvidia-ml-py",
    "torch",
    "transformers",
    "nvidia-cublas-cu12",
)
_BUDGET_S = 465.0
_GRACE_S = 8.0
_LEAST_S = 5.0


def main() -> None:
    args = _arguments()
    begun = time.monotonic()
    work = args.work.resolve()
    (work / "parts").mkdir(parents=True, exist_ok=True)
    environ = _environment(work)
    driver = probe_driver()
    if args.device == "cuda" and not driver.gpus and not _cuda_devices(environ):
        sys.exit(f"no NVIDIA GPU: {driver.reason}. --device cpu --small tries the benchmark without one")
    name = driver.gpus[0].name if args.device == "cuda" and driver.gpus else args.device
    out: Path = args.out or RESULTS / f"gpu-{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')}.json"
    result: dict[str, Any] = {"benchmark": "gpu", **_about(args, driver)}
    if args.device == "cuda":
        changed, result["cublas"] = cublas(work / "cublas", environ)
        environ.update(changed)
    result["nvml_dump"] = _dump(out.with_name(f"{out.stem}-nvml.json"), environ)
    parts: dict[str, Any] = {}
    result["parts"] = parts
    settings = Settings(args.device, args.small, str(work), "")
    for part, limit in PARTS.items():
        if args.only and part not in (*args.only, "make"):
            continue
        left = args.budget - (time.monotonic() - begun)
        parts[part] = _run(part, replace(settings, b_best=_b_best(parts)), min(limit, left), environ, parts)
        print(f"{part}: {parts[part]['outcome']} in {parts[part]['seconds']} s", file=sys.stderr, flush=True)
        result["workers_2_over_1"] = _gain(parts)
        result["seconds"] = round(time.monotonic() - begun, 1)
        _save(out, result)
    print(out)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--small", action="store_true", help="a tiny model and short texts")
    parser.add_argument("--out", type=Path, help="the result (default: benchmarks/results/gpu-DEVICE.json)")
    parser.add_argument("--work", type=Path, default=CACHE / "gpu", help="where the model and caches are kept")
    parser.add_argument("--budget", type=float, default=_BUDGET_S, help="seconds for all of it (default: %(default)g)")
    parser.add_argument("--only", nargs="+", choices=tuple(PARTS), help="these parts alone")
    return parser.parse_args()


def _cuda_devices(environ: dict[str, str]) -> bool:
    """Whether CTranslate2 sees a card, where NVML does not."""
    code = "import ctranslate2, sys; sys.exit(not ctranslate2.get_cuda_device_count())"
    return subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, check=False).returncode == 0


def _environment(work: Path) -> dict[str, str]:
    """Of the parts: settings and models of their own, and room for the kernels that the driver compiles."""
    return {
        "CUDA_CACHE_PATH": str(work / "compiled"),
        "CUDA_CACHE_MAXSIZE": str(4 << 30),
        **{name: value for name, value in os.environ.items() if not name.startswith("PHITUI")},
        "PYTHONPATH": os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")])),
        "PHITUI_HOME": str(work),
        "XDG_CONFIG_HOME": str(work / "config"),
    }


def _about(args: argparse.Namespace, driver: Any) -> dict[str, Any]:
    versions = {}
    for package in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            versions[package] = version(package)
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "small": args.small,
        "device": args.device,
        "gpus": [
            {
                "name": gpu.name,
                "uuid": gpu.uuid,
                "compute_capability": gpu.compute_capability,
                "vram_bytes": gpu.vram_bytes,
            }
            for gpu in driver.gpus
        ],
        "no_gpu": driver.reason,
        "driver": driver.driver,
        "cuda": driver.cuda,
        "cpu": cpu_name(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "versions": versions,
        "load_before": round(os.getloadavg()[0], 2),
    }


def _dump(path: Path, environ: dict[str, str]) -> dict[str, Any]:
    """Save what `phitui doctor --nvml --json` prints."""
    command = [sys.executable, "-m", "phitui", "doctor", "--nvml", "--json"]
    try:
        done = subprocess.run(command, env=environ, capture_output=True, timeout=40, check=False)
    except subprocess.TimeoutExpired:
        return {"problem": "it took more than 40 s"}
    if done.returncode not in (0, 3):
        return {"problem": done.stderr.decode(errors="replace").strip()[-300:]}
    if done.returncode == 3:
        return {"problem": "no card answers"}
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, done.stdout)
    return {"file": path.name, "calls": len(json.loads(done.stdout).get("calls", []))}


def _run(
    part: str, settings: Settings, limit_s: float, environ: dict[str, str], before: dict[str, Any]
) -> dict[str, Any]:
    """Run one part; its figures, how it went, and how long it took."""
    if limit_s < _LEAST_S:
        return {"outcome": "left out", "reason": "the time for all parts was used up", "seconds": 0.0}
    if part in NEEDS_MODEL and before.get("make", {}).get("outcome") != "done":
        return {"outcome": "left out", "reason": "there is no model", "seconds": 0.0}
    base = Path(settings.work) / "parts" / part
    file, log = base.with_suffix(".jsonl"), base.with_suffix(".log")
    file.unlink(missing_ok=True)
    told = replace(settings, result=str(file))
    begun = time.monotonic()
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("gpu_part.py")), part, json.dumps(asdict(told))],
            stdin=subprocess.DEVNULL, stdout=errors, stderr=errors, env=environ, start_new_session=True,
        )  # fmt: skip
        outcome, reason = _wait(process, limit_s, log)
    figures = Report(str(file)).read()
    seconds = round(time.monotonic() - begun, 1)
    if outcome == "done" and "skipped" in figures:
        outcome, reason = "skipped", figures.pop("skipped")
    return {"outcome": outcome, **({"reason": reason} if reason else {}), "seconds": seconds, **figures}


def _wait(process: subprocess.Popen[bytes], limit_s: float, log: Path) -> tuple[str, str]:
    """Until it ends; after its time it is asked to, and then made to. What it has started ends with it."""
    try:
        status = process.wait(limit_s)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_S)
        return "timed out", f"more than {limit_s:.0f} s"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if status == 0:
        return "done", ""
    how = f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return "failed", f"{how}: {lines[-1][:300] if lines else 'it said nothing'}"


def _b_best(parts: dict[str, Any]) -> int:
    return int(parts.get("tune", {}).get("b_best", 0))


def _gain(parts: dict[str, Any]) -> dict[str, float]:
    """Output tokens/s with two workers over those with one, by batch."""
    one, two = (parts.get(name, {}).get("batches", {}) for name in ("steps", "workers"))
    rate = "output_tokens_per_s"
    both = [batch for batch in two if rate in two[batch] and rate in one.get(batch, {})]
    return {batch: round(two[batch][rate] / one[batch][rate], 3) for batch in both}


def _save(out: Path, result: dict[str, Any]) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    replace_file(out, json.dumps(result, indent=2, ensure_ascii=False).encode() + b"\n")


if __name__ == "__main__":
    main()
