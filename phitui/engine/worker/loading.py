"""Loads a model folder into a CTranslate2 Generator, on the device and with the threads that suit it."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import ctranslate2

from phitui.core.errors import UnavailableError
from phitui.core.ipc.messages import Progress
from phitui.core.text import counted
from phitui.engine.protocol.api import Load, Loaded
from phitui.engine.worker import choice, cuda, threads
from phitui.engine.worker.cuda_pool import device_uuid
from phitui.engine.worker.out_of_memory import out_of_memory
from phitui.engine.worker.prompt import ChatPrompt
from phitui.hardware.host import cpu_int8
from phitui.models.footprint import footprint
from phitui.models.manifest import Manifest, read_manifest


class Model(NamedTuple):
    """A model that can answer."""

    generator: ctranslate2.Generator
    prompt: ChatPrompt
    manifest: Manifest
    loaded: Loaded


def load_model(load: Load, tell: Callable[[Progress], None]) -> Model:
    """Load what `load` names. Raises PhituiError or UnavailableError with the reason in one line."""
    started = time.perf_counter()
    folder = Path(load.folder)
    manifest = read_manifest(folder)
    tell(Progress("load", f"loading {manifest.title}", 0, manifest.weight_bytes, "bytes"))
    chosen = _choose(load, manifest)
    with ThreadPoolExecutor(1) as pool:  # the tokenizer's file is read while the weights are
        reading = pool.submit(ChatPrompt, folder, manifest)
        generator, count, thread_why = _generator(load, folder, manifest, chosen, tell)
        prompt = reading.result()
        loaded = Loaded(
            name=manifest.name,
            title=manifest.title,
            device=chosen.device,
            compute_type=generator.compute_type,
            threads=count,
            context_window=manifest.context_window,
            weight_bytes=manifest.weight_bytes,
            load_s=time.perf_counter() - started,
            why="; ".join(filter(None, (chosen.why, thread_why, manifest.context_note, prompt.note))),
            footprint=footprint(manifest, generator.compute_type),
            workers=load.workers,
            compute_types=sorted(ctranslate2.get_supported_compute_types(chosen.device)),
            device_uuid=device_uuid() if chosen.device == "cuda" else "",
            epoch=load.epoch,
        )
        return Model(generator, prompt, manifest, loaded)


def _choose(load: Load, manifest: Manifest) -> choice.Choice:
    count, problem = 0, ""
    if load.device != "cpu":
        count = ctranslate2.get_cuda_device_count()
        problem = cuda.preload_cublas() if count else ""
    devices = ["cpu", *(["cuda"] if count and not problem else [])]
    supported = {device: set(ctranslate2.get_supported_compute_types(device)) for device in devices}
    weights = choice.Weights(manifest.quantization, manifest.is_awq)
    int8_problem = cpu_int8.WHY if cpu_int8.this_cpu_overflows() else ""
    return choice.choose(load.device, load.compute_type, count, problem, supported, weights, int8_problem)


def _generator(
    load: Load, folder: Path, manifest: Manifest, chosen: choice.Choice, tell: Callable[[Progress], None]
) -> tuple[ctranslate2.Generator, int, str]:
    """The generator, its thread count, and why that count."""

    def make(count: int) -> ctranslate2.Generator:
        try:
            return ctranslate2.Generator(
                load.folder,
                device=chosen.device,
                compute_type=chosen.compute_type,
                inter_threads=load.workers,
                intra_threads=count,
            )
        except (MemoryError, RuntimeError, ValueError) as error:
            raise load_error(error, folder, manifest, chosen) from error

    if chosen.device == "cuda":
        return make(0), 0, "host threads by CTranslate2"
    if load.threads:
        return make(load.threads), load.threads, f"{counted(load.threads, 'thread')} as asked"
    return threads.fastest(make, manifest, chosen.compute_type, Path(load.profiles), tell)


def load_error(error: Exception, folder: Path, manifest: Manifest, chosen: choice.Choice) -> UnavailableError:
    """Why CTranslate2 could not load a model, with what to do."""
    if is_out_of_memory(error):
        return out_of_memory(manifest, chosen.compute_type, chosen.device)
    message = f"cannot load {folder}: {_first_line(error)}"
    return UnavailableError(message, "Pull or convert the model again, or run phitui doctor")


def is_out_of_memory(error: Exception, loaded: bool = False) -> bool:
    """Whether memory ran out, by the messages of CTranslate2, MKL, CUDA, cuBLAS and Thrust. `loaded`: in an engine that
    has worked: there cuBLAS finds no memory for its handle, where it else may not be there at all."""
    text = str(error).lower()
    signs = ["out of memory", "alloc_failed", "bad_alloc", "failed to allocate memory"]
    if loaded:
        signs.append("cublas_status_not_initialized")
    return isinstance(error, MemoryError) or any(sign in text for sign in signs)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]


def check_answers(model: Model, just_loaded: bool = False) -> None:
    """Make one token: CUDA problems (no kernel for the card, no cuBLAS) show only at the first product.

    Raises UnavailableError; where memory runs out in a model that was `just_loaded`, with who has it.
    """
    try:
        model.generator.generate_batch([[model.manifest.end_tokens[0]]], max_length=1, sampling_topk=1)
    except RuntimeError as error:
        if just_loaded and is_out_of_memory(error):
            raise out_of_memory(model.manifest, model.loaded.compute_type, model.loaded.device) from error
        fix = choice.AWQ_NEEDS if model.manifest.is_awq else "Run phitui doctor, or use --device cpu"
        raise UnavailableError(f"{model.loaded.device} does not work: {_first_line(error)}", fix) from error
