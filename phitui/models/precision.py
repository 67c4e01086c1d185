"""Names of precisions, as CTranslate2 has them for stored weights and for computing, and what they are made of."""

from __future__ import annotations

# Type of the matrices, type of the rest.
PRECISIONS = {
    "int8": ("int8", "float32"),
    "int8_float32": ("int8", "float32"),
    "int8_float16": ("int8", "float16"),
    "int8_bfloat16": ("int8", "bfloat16"),
    "float32": ("float32", "float32"),
    "float16": ("float16", "float16"),
    "bfloat16": ("bfloat16", "bfloat16"),
}
ITEM_BYTES = {"int8": 1, "float16": 2, "bfloat16": 2, "float32": 4}
