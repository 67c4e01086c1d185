"""The block types that the gguf package cannot quantize: blocks made by hand, decoded by hand, element by element."""

from __future__ import annotations

import gguf
import numpy as np
import pytest
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

from phitui.models.convert.gguf_source import GgufFile

ROWS, BLOCKS = 5, 3  # of 256 elements


def half(data: bytes) -> float:
    return float(np.frombuffer(data, np.float16)[0])


def q4_k(block: bytes) -> list[float]:
    """ggml's block_q4_K: d, dmin (f16), 8 six-bit scales and 8 minima in 12 bytes, 256 nibbles."""
    d, least, packed, nibbles = half(block[0:2]), half(block[2:4]), block[4:16], block[16:144]
    values = []
    for part in range(8):
        if part < 4:
            scale, minimum = packed[part] & 63, packed[part + 4] & 63
        else:
            scale = (packed[part + 4] & 15) | (packed[part - 4] >> 6) << 4
            minimum = (packed[part + 4] >> 4) | (packed[part] >> 6) << 4
        for i in range(32):
            byte = nibbles[part // 2 * 32 + i]
            nibble = byte >> 4 if part % 2 else byte & 15
            values.append(d * scale * nibble - least * minimum)
    return values


def q6_k(block: bytes) -> list[float]:
    """ggml's block_q6_K: 256 low nibbles, 256 high pairs, 16 int8 scales, d (f16)."""
    low, high = block[:128], block[128:192]
    scales, d = np.frombuffer(block[192:208], np.int8), half(block[208:210])
    values = []
    for i in range(256):
        part, within = divmod(i, 128)
        quarter, place = divmod(within, 32)
        nibble = low[part * 64 + place + 32 * (quarter % 2)] >> (4 if quarter > 1 else 0) & 15
        pair = high[part * 32 + place] >> (2 * quarter) & 3
        values.append(d * int(scales[i // 16]) * ((nibble | pair << 4) - 32))
    return values


def random_blocks(kind: GGMLQuantizationType, halves: list[int]) -> np.ndarray:
    """Random bytes with sensible numbers at the places of the block's f16 scales."""
    rng = np.random.default_rng(4)
    _, block_bytes = GGML_QUANT_SIZES[kind]
    blocks = rng.integers(0, 256, (ROWS, BLOCKS, block_bytes), np.uint8)
    for place in halves:
        scale = rng.uniform(0.001, 0.1, (ROWS, BLOCKS, 1)).astype(np.float16)
        blocks[:, :, place : place + 2] = scale.view(np.uint8)
    return blocks


def write(path, kind, blocks):
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tensor("w", blocks.reshape(ROWS, -1), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return GgufFile(path)


@pytest.mark.parametrize("kind, halves, decode", [("Q4_K", [0, 2], q4_k), ("Q6_K", [208], q6_k)])
def test_k_quants_by_hand(tmp_path, kind, halves, decode):
    kind = GGMLQuantizationType[kind]
    blocks = random_blocks(kind, halves)
    file = write(tmp_path / "x.gguf", kind, blocks)
    assert file.shape("w") == (ROWS, BLOCKS * 256)
    by_hand = np.array([[value for block in row for value in decode(block.tobytes())] for row in blocks])
    assert np.ptp(by_hand) > 1
    assert np.allclose(file.rows("w", 0, ROWS), by_hand, rtol=1e-5, atol=1e-6)
    assert np.allclose(file.rows("w", 2, 4), by_hand[2:4], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "kind, halves",
    [("Q2_K", [80, 82]), ("Q3_K", [108]), ("Q5_K", [0, 2]), ("IQ4_XS", [0]), ("TQ1_0", [52])],
)
def test_whatever_the_gguf_package_decodes(tmp_path, kind, halves):
    kind = GGMLQuantizationType[kind]
    blocks = random_blocks(kind, halves)
    file = write(tmp_path / "x.gguf", kind, blocks)
    whole = gguf.dequantize(blocks.reshape(ROWS, -1), kind)
    assert np.isfinite(whole).all() and np.ptp(whole) > 0
    assert np.array_equal(file.rows("w", 0, ROWS), whole)
    assert np.array_equal(file.rows("w", 1, 4), whole[1:4])
