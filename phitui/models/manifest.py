"""phitui.json: what a converted model folder says of itself."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec

from phitui.core.errors import PhituiError
from phitui.core.files import open_regular, read_small

MANIFEST_NAME = "phitui.json"
FORMAT = 1
# What `quantization` begins with where the weights are AWQ int4, and what a user may call it.
AWQ_PREFIX = "int4_awq_"
AWQ = "awq"
# Tokenizers of large vocabularies have 40 MB.
MOST_TOKENIZER_BYTES = 256_000_000
# Without these there is nothing to load.
REQUIRED_FILES = ("config.json", "model.bin", "tokenizer.json", "vocabulary.json")
_AGAIN = "Convert or pull the model again."
_MOST_BYTES = 16_000_000
_HASH_CHUNK_BYTES = 4 * 1024 * 1024


class Sizes(msgspec.Struct, frozen=True):
    """The numbers of an architecture from which memory and bandwidth follow."""

    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    model_dim: int
    ff_dim: int
    vocabulary: int


class FileEntry(msgspec.Struct, frozen=True):
    """One file of the folder."""

    bytes: int
    sha256: str


class Label(msgspec.Struct, frozen=True):
    """Where a model comes from: what its manifest says before the checkpoint is read."""

    name: str
    title: str = ""
    source: str = ""
    revision: str = ""
    license: str = ""


class Manifest(msgspec.Struct, frozen=True):
    """All that phitui needs to know of a model without loading it.

    `architecture` is "llama" or "phi3"; `quantization` is how the weights are stored ("int8", "float32",
    "int4_awq_gemm", …);
    `context_window` counts prompt and answer together, in tokens, and `context_note` says why it is less than
    the checkpoint's, where it is, and in which of LongRoPE's regimes it runs. `special_tokens` are the names
    that the chat template asks for ("bos_token", …). `rotary_dim` is how many elements of a head have rotary
    positions, 0 where all have (and in manifests that did not say); `awq_group` is how many inputs share one of AWQ's
    scales, 0 where the weights are not AWQ (or the manifest did not say).
    """

    format: int
    name: str
    title: str
    source: str
    revision: str
    license: str
    architecture: str
    sizes: Sizes
    quantization: str
    context_window: int
    end_tokens: list[str]
    special_tokens: dict[str, str]
    chat_template: str
    converter: str
    files: dict[str, FileEntry]
    context_note: str = ""
    rotary_dim: int = 0
    awq_group: int = 0

    @property
    def is_awq(self) -> bool:
        """Whether the weights are AWQ int4, which only CUDA cards run."""
        return self.quantization.startswith(AWQ_PREFIX)

    @property
    def weight_bytes(self) -> int:
        """Size of the weights on disk, in bytes."""
        return self.files["model.bin"].bytes if "model.bin" in self.files else 0

    @property
    def total_bytes(self) -> int:
        """Size of all files that the manifest lists, in bytes."""
        return sum(entry.bytes for entry in self.files.values())


def read_manifest(folder: Path) -> Manifest:
    """Read and check the manifest of `folder`, and that each file it lists is there at its size.

    Raises PhituiError that says what is wrong with the folder. Hashes are not read here: `verify` does that.
    """
    path = folder / MANIFEST_NAME
    try:
        manifest = msgspec.json.decode(read_small(path, _MOST_BYTES), type=Manifest)
    except FileNotFoundError as error:
        raise PhituiError(f"{folder} is not a phitui model: it has no {MANIFEST_NAME}", _AGAIN) from error
    except OSError as error:
        raise PhituiError(f"cannot read {path}: {error.strerror}", "Check what it is, and who may read it.") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PhituiError(f"{path} is damaged: {error}", _AGAIN) from error
    if manifest.format != FORMAT:
        raise PhituiError(f"{path} has format {manifest.format}, this phitui reads {FORMAT}", _AGAIN)
    lacking = [name for name in REQUIRED_FILES if name not in manifest.files]
    if lacking:
        raise PhituiError(f"{path} does not list {lacking[0]}: it is damaged", _AGAIN)
    for name, entry in manifest.files.items():
        _check_file(folder, name, entry)
    return manifest


def verify(folder: Path, on_bytes: Callable[[int, int], None] | None = None) -> Manifest:
    """Read every file of a model and compare its hash with the manifest.

    `on_bytes` is told how many bytes are read, of how many. Raises PhituiError that names the first file that
    differs.
    """
    manifest = read_manifest(folder)
    before = 0
    for name, entry in manifest.files.items():
        tell = partial(_tell, on_bytes, before, manifest.total_bytes)
        try:
            digest = sha256(folder / name, tell)
        except OSError as error:
            raise PhituiError(f"cannot read {folder / name}: {error.strerror}", _AGAIN) from error
        if digest != entry.sha256:
            raise PhituiError(f"{folder / name} is not the file that was made: its hash differs", _AGAIN)
        before += entry.bytes
    return manifest


def _tell(on_bytes: Callable[[int, int], None] | None, before: int, total: int, done: int) -> None:
    if on_bytes is not None:
        on_bytes(before + done, total)


def sha256(path: Path, on_bytes: Callable[[int], object] | None = None) -> str:
    """The SHA-256 of a file, in hexadecimal. `on_bytes` is told how much is read. Raises OSError."""
    digest = hashlib.sha256()
    done = 0
    with os.fdopen(open_regular(path), "rb") as file:
        while chunk := file.read(_HASH_CHUNK_BYTES):
            digest.update(chunk)
            done += len(chunk)
            if on_bytes is not None:
                on_bytes(done)
    return digest.hexdigest()


def describe_files(folder: Path, known: dict[str, FileEntry] | None = None) -> dict[str, FileEntry]:
    """Sizes and hashes of all files of a new model folder, for its manifest; those `known` are not read.

    Raises OSError.
    """
    entries = dict(known or {})
    for path in sorted(folder.iterdir()):
        if path.name not in entries and path.name != MANIFEST_NAME:
            entries[path.name] = FileEntry(path.stat().st_size, sha256(path))
    return dict(sorted(entries.items()))


def _check_file(folder: Path, name: str, entry: FileEntry) -> None:
    if Path(name).name != name:
        raise PhituiError(f"{folder / MANIFEST_NAME} names a file outside its folder: {name!r}", _AGAIN)
    try:
        about = (folder / name).stat()
    except OSError as error:
        raise PhituiError(f"cannot read {folder / name}: {error.strerror}", _AGAIN) from error
    if not stat.S_ISREG(about.st_mode):  # CTranslate2 would wait for a pipe's other end
        raise PhituiError(f"{folder / name} is not a file", _AGAIN)
    if about.st_size != entry.bytes:
        raise PhituiError(f"{folder / name} has {about.st_size} bytes, not {entry.bytes}: it is damaged", _AGAIN)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest as the last file of a new folder."""
    text = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
    (folder / MANIFEST_NAME).write_bytes(text + b"\n")
