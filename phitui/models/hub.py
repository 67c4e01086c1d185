"""Models from the Hugging Face Hub: the needed files of a repository, by the user's token and endpoint."""

from __future__ import annotations

import errno
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from phitui.core.errors import PhituiError, UsageError
from phitui.core.ipc.messages import Progress
from phitui.models.catalog import CATALOG, meant
from phitui.models.manifest import sha256

Report = Callable[[Progress], None]

PATTERNS = (
    "config.json",
    "generation_config.json",
    "tokenizer*",
    "vocab.json",
    "merges.txt",
    "added_tokens.json",
    "special_tokens_map.json",
    "*.jinja",
    "model*.safetensors",
    "model.safetensors.index.json",
)
_PART = ".part"
# What a cut connection costs at most. huggingface_hub's own chunks are 10 MB.
_CHUNK_BYTES = 1 << 18
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")


@dataclass(frozen=True)
class RemoteFile:
    """One file of a repository. `sha256` is known of large files only, and "" for the others."""

    name: str
    bytes: int
    sha256: str

    @property
    def is_weights(self) -> bool:
        return self.name.endswith(".safetensors")


@dataclass(frozen=True)
class DownloadPlan:
    """What is to be fetched: the needed files of one revision, small ones first and the weights last."""

    repository: str
    revision: str
    license: str
    files: tuple[RemoteFile, ...]

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files)


def check_repository(name: str) -> None:
    """Raise UsageError for what cannot be the name of a repository."""
    if not _REPOSITORY.fullmatch(name):
        known = [entry.name for entry in CATALOG]
        fix = meant(name, known) or f"Known are: {', '.join(known)}."
        raise UsageError(f"no model is called {name[:100]!r}", f"{fix} Others of the Hub are named organisation/model.")


def plan(repository: str) -> DownloadPlan:
    """Ask the Hub for the needed files of a repository's main revision.

    Raises PhituiError for a repository that is not there or not open to the user, and where there is no network.
    """
    info = _asked(repository, lambda hub: hub.HfApi().model_info(repository, files_metadata=True))
    found = [RemoteFile(f.rfilename, f.size or 0, f.lfs.sha256 if f.lfs else "") for f in info.siblings or []]
    files = [file for file in found if any(fnmatch(file.name, pattern) for pattern in PATTERNS)]
    for file in files:
        if Path(file.name).name != file.name:
            raise PhituiError(f"{repository} names a file outside its folder: {file.name[:100]!r}", "Choose another.")
    terms = str(getattr(getattr(info, "card_data", None), "license", None) or "")
    files.sort(key=lambda file: (file.is_weights, file.bytes, file.name))
    return DownloadPlan(repository, str(info.sha or "main"), terms, tuple(files))


def present_bytes(wanted: DownloadPlan, kept: Path) -> int:
    """How much of `wanted` an earlier, interrupted `fetch` has left in `kept`."""
    return sum(_size(path) for file in wanted.files for path in _places(wanted, kept, file))


def drop_without_weights(kept: Path) -> None:
    """Remove what a failed `fetch` has left where no piece of a weights file is there: nothing that is worth keeping,
    and after a refusal nobody would ever come for it."""
    if not any(path.name.removesuffix(_PART).endswith(".safetensors") for path in kept.glob("*/*")):
        shutil.rmtree(kept, ignore_errors=True)


def fetch(
    wanted: DownloadPlan,
    kept: Path,
    report: Report,
    check_config: Callable[[Path], None],
    check_chat: Callable[[Path], None],
) -> Path:
    """Download the files into a folder in `kept`; what is there of this revision already is not fetched again.

    An interrupted download goes on where it stopped, in the middle of a file too. (huggingface_hub, whose own downloads
    begin a file anew, is asked for addresses, credentials and errors.) `check_config` gets the path of config.json
    as soon as it is there, `check_chat` the folder before the weights are fetched; both may raise. Raises PhituiError
    as `plan` does, and OSError where the disk is full.
    """
    folder = kept / _folder_name(wanted)
    if kept.is_dir():
        for stale in kept.iterdir():
            if stale != folder:
                shutil.rmtree(stale, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    done = 0
    before_weights = True
    for file in wanted.files:
        if file.is_weights and before_weights:
            check_chat(folder)
            before_weights = False
        if not (folder / file.name).exists():
            _fetch_file(wanted, file, folder, _progress_bar(wanted, done, report))
        if file.name == "config.json":
            check_config(folder / file.name)
        done += file.bytes
        report(Progress("fetch", f"Fetching {wanted.repository}", done, wanted.bytes, "bytes"))
    return folder


def _folder_name(wanted: DownloadPlan) -> str:
    """A folder for each revision: a revision's files never change."""
    return re.sub(r"[^A-Za-z0-9]", "", wanted.revision)[:64] or "main"


def _places(wanted: DownloadPlan, kept: Path, file: RemoteFile) -> tuple[Path, Path]:
    whole = kept / _folder_name(wanted) / file.name
    return whole, whole.with_name(file.name + _PART)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _fetch_file(wanted: DownloadPlan, file: RemoteFile, folder: Path, bar: type) -> None:
    """Bring one file, from where its part ends."""
    whole, part = folder / file.name, folder / (file.name + _PART)
    if _size(part) > file.bytes:
        part.unlink()

    def download(hub: Any) -> None:
        known = hub.try_to_load_from_cache(wanted.repository, file.name, revision=wanted.revision)
        if isinstance(known, str):  # another program has fetched it
            whole.symlink_to(Path(known).resolve())
            return
        address, headers = _address(hub, wanted, file)
        with part.open("ab") as out:
            hub.file_download.http_get(
                address, out, resume_size=out.tell(), headers=headers, expected_size=file.bytes, tqdm_class=bar
            )

    _asked(wanted.repository, download)
    if not whole.exists():
        _check(wanted, file, part)
        part.rename(whole)


def _address(hub: Any, wanted: DownloadPlan, file: RemoteFile) -> tuple[str, dict[str, str]]:
    """Where the file's bytes are and the headers to ask with; the user's token stays with the Hub itself."""
    url = hub.hf_hub_url(wanted.repository, file.name, revision=wanted.revision)
    headers = hub.utils.build_hf_headers()
    address = str(hub.get_hf_file_metadata(url).location)
    if urlsplit(address).netloc != urlsplit(url).netloc:
        headers.pop("authorization", None)
    return address, headers


def _check(wanted: DownloadPlan, file: RemoteFile, part: Path) -> None:
    if file.sha256 and sha256(part) != file.sha256:
        part.unlink()
        raise PhituiError(
            f"{file.name} of {wanted.repository} is not the file that the Hub has: its hash differs",
            "It was damaged on its way and has been removed: pull again.",
        )


def _asked(repository: str, question: Callable[[Any], Any]) -> Any:
    """What the Hub answers; its many errors as one clear line."""
    import huggingface_hub as hub
    import huggingface_hub.file_download
    from huggingface_hub import errors

    hub.constants.DOWNLOAD_CHUNK_SIZE = _CHUNK_BYTES
    try:
        return question(hub)
    except errors.GatedRepoError as error:
        raise PhituiError(
            f"{repository} asks its users to accept its terms (HTTP {error.response.status_code})",
            f"Accept them on the model's page, then set HF_TOKEN. It is at {_endpoint(hub)}/{repository}",
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise PhituiError(
            f"the Hub has no model {repository}, or it is not open to you (401/404)",
            "Check the name; for a private model set HF_TOKEN.",
        ) from error
    except errors.HfHubHTTPError as error:
        status = getattr(getattr(error, "response", None), "status_code", "?")
        raise PhituiError(f"the Hub refused {repository}: HTTP {status}", _hint(status)) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
            raise
        raise _unreachable(hub, repository, error) from error
    except Exception as error:  # its HTTP client's own kinds
        raise _unreachable(hub, repository, error) from error


def _hint(status: object) -> str:
    if status in (401, 403):
        return "Set HF_TOKEN to a token that may read it."
    return "Try again later."


def _unreachable(hub: Any, repository: str, error: Exception) -> PhituiError:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return PhituiError(
        f"cannot fetch {repository} from {_endpoint(hub)}: {lines[0][:200]}",
        "Check the network, HF_ENDPOINT and HF_HUB_OFFLINE; pull again to go on.",
    )


def _endpoint(hub: Any) -> str:
    return str(hub.constants.ENDPOINT)


def _progress_bar(wanted: DownloadPlan, before: int, report: Report) -> type:
    """A tqdm that draws nothing and reports the bytes of all files together; `before` are those of earlier files."""
    from tqdm.auto import tqdm  # type: ignore[import-untyped]

    class Reporter(tqdm):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            kwargs.pop("name", None)
            super().__init__(*args, **{**kwargs, "disable": False, "file": _Nowhere()})

        def update(self, n: float | None = 1) -> Any:
            result = super().update(n)
            report(Progress("fetch", f"Fetching {wanted.repository}", before + int(self.n), wanted.bytes, "bytes"))
            return result

    return Reporter


class _Nowhere:
    """A file that forgets."""

    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        return
