"""Models from the Hugging Face Hub: the needed files of a repository, by the user's token and endpoint."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phitui.errors import PhituiError, UsageError
from phitui.ipc.messages import Progress

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
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")


@dataclass(frozen=True)
class Snapshot:
    """A repository's files on disk, and which revision of it they are."""

    folder: Path
    revision: str
    license: str


def check_repository(name: str) -> None:
    """Raise UsageError for what cannot be the name of a repository."""
    if not _REPOSITORY.fullmatch(name):
        raise UsageError(f"{name[:100]!r} is no model of the Hub", "Give it as organisation/model.")


def needed_bytes(repository: str) -> int:
    """The size of the files that `fetch` brings, in bytes. Raises PhituiError as `fetch` does."""
    from fnmatch import fnmatch

    info = _asked(repository, lambda hub: hub.HfApi().model_info(repository, files_metadata=True))
    files = [file for file in info.siblings or [] if any(fnmatch(file.rfilename, pattern) for pattern in PATTERNS)]
    return sum(file.size or 0 for file in files)


def fetch(repository: str, into: Path, report: Report) -> Snapshot:
    """Download the needed files of a repository's main revision into `into`.

    Raises PhituiError for a repository that is not there or not open to the user, and where there is no
    network; OSError where the disk is full.
    """
    progress = _progress_bar(f"Fetching {repository}", report)

    def download(hub: Any) -> tuple[str, Any]:
        info = hub.HfApi().model_info(repository)
        folder = hub.snapshot_download(
            repository,
            revision=info.sha,
            allow_patterns=list(PATTERNS),
            local_dir=into,
            tqdm_class=progress,
        )
        return folder, info

    folder, info = _asked(repository, download)
    card = getattr(info, "card_data", None)
    return Snapshot(Path(folder), str(info.sha or ""), str(getattr(card, "license", None) or ""))


def _asked(repository: str, question: Callable[[Any], Any]) -> Any:
    """What the Hub answers; its many errors as one clear line."""
    import huggingface_hub as hub
    from huggingface_hub import errors

    try:
        return question(hub)
    except errors.GatedRepoError as error:
        raise PhituiError(
            f"{repository} asks its users to accept its terms (403)",
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
        "Check the network, HF_ENDPOINT and HF_HUB_OFFLINE.",
    )


def _endpoint(hub: Any) -> str:
    return str(hub.constants.ENDPOINT)


def _progress_bar(text: str, report: Report) -> type:
    """A tqdm that draws nothing and reports the bytes of all files together."""
    from tqdm.auto import tqdm  # type: ignore[import-untyped]

    class Reporter(tqdm):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self._counts_bytes = kwargs.get("unit") == "B"
            kwargs.pop("name", None)
            super().__init__(*args, **{**kwargs, "disable": False, "file": _Nowhere()})

        def update(self, n: float | None = 1) -> Any:
            result = super().update(n)
            if self._counts_bytes:
                report(Progress("fetch", text, int(self.n), int(self.total or 0), "bytes"))
            return result

    return Reporter


class _Nowhere:
    """A file that forgets."""

    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        return
