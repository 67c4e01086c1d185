"""The memory model against figures that were worked out by hand from CTranslate2's source, and its fits."""

from __future__ import annotations

from dataclasses import replace

import pytest
from simulated_card import PHI3

from phitui.autotune.memory import Measured, MemoryModel, Shape, fit

MIB = 1024**2
# SmolLM2-135M: nine heads, three of them with keys and values of their own.
SMOLLM2 = MemoryModel(30, 9, 576, 576, 1536, 49152, 64, 4, int8=True)


@pytest.mark.parametrize(
    ("shape", "mib"),
    [(Shape(1, 2048, 256), 1072), (Shape(8, 512, 512), 3118), (Shape(32, 256, 256), 6231), (Shape(8, 2048, 256), 8573)],
)
def test_phi3_minis_peaks(shape: Shape, mib: int) -> None:
    assert (PHI3.peak(shape) - PHI3.rotary(shape.total)) / MIB == pytest.approx(mib, abs=3)


def test_phi3_minis_terms() -> None:
    assert PHI3.kv_token_bytes == 393_216
    assert PHI3.rotary(2048) == 24 * MIB
    assert PHI3.rotary(2049) == 48 * MIB
    assert replace(PHI3, workers=2).rotary(100) == 48 * MIB


def test_awqs_gemm_unpacks_a_matrix_for_large_products() -> None:
    """Rows × tokens of 1024 and more, of one worker; the last token of a prompt is a decode step's."""
    plain = replace(PHI3, int8=False)
    packed = replace(plain, unpacked_bytes=2 * 3072 * 8192)

    def more(batch: int, prompt: int, workers: int = 1) -> int:
        shape = Shape(batch, prompt, 1)
        return replace(packed, workers=workers).prefill(shape) - replace(plain, workers=workers).prefill(shape)

    assert more(8, 128) == 0  # 8 × 127
    assert more(8, 129) == more(4, 257) == 2 * 3072 * 8192
    assert more(4, 256) == 0
    assert (more(8, 129, workers=2), more(16, 129, workers=2)) == (0, 2 * 2 * 3072 * 8192)
    assert more(8, 4000) == 0  # the scores are more than the matrix by then


def test_one_row_of_one_token_is_no_prefill() -> None:
    assert PHI3.prefill(Shape(4, 1, 10)) == 0
    assert PHI3.decode(Shape(1, 1, 1)) == 393_216 + 6_144 + 32_064 * 6


def test_the_longest_prompt_within_a_bound() -> None:
    bound = PHI3.prefill(Shape(8, 700, 1))
    assert PHI3.largest_prompt(8, 4000, bound) == 700
    assert PHI3.largest_prompt(8, 500, bound) == 500
    assert PHI3.largest_prompt(8, 4000, -1) == 0


def test_a_fit_finds_base_and_scale() -> None:
    shapes = [Shape(1, 500, 32), Shape(26, 500, 32), Shape(64, 500, 32)]
    measured = [Measured(one, round(5e9 + 1.2 * PHI3.peak(one))) for one in shapes]
    fitted = fit(PHI3, 4_000_000_000, measured)
    assert fitted.base_bytes == pytest.approx(5e9, rel=1e-3)
    assert fitted.scale == pytest.approx(1.2, rel=1e-3)
    assert fitted.error == pytest.approx(0, abs=1e-6)
    assert fitted.points == 3


def test_one_point_scales_what_is_above_rest() -> None:
    shape = Shape(8, 500, 32)
    fitted = fit(PHI3, 4_000_000_000, [Measured(shape, 4_000_000_000 + 2 * PHI3.peak(shape))])
    assert (fitted.base_bytes, fitted.scale) == (4_000_000_000, pytest.approx(2.0))
    assert fitted.error == pytest.approx(0, abs=1e-9)


def test_points_of_one_size_say_nothing_of_the_base() -> None:
    shape = Shape(8, 500, 32)
    peaks = [4_000_000_000 + PHI3.peak(shape) + noise for noise in (-10_000_000, 10_000_000)]
    fitted = fit(PHI3, 4_000_000_000, [Measured(shape, peak) for peak in peaks])
    assert fitted.base_bytes == 4_000_000_000
    assert fitted.scale == pytest.approx(1.0, rel=1e-3)


def test_small_runs_do_not_say_that_rows_take_nothing() -> None:
    """As measured: 4 rows and 1 row of a tiny model beside 104 MB at rest, whose peaks differ by less than the heap
    scatters. A fit of these alone had 16,000 rows in 200 MB."""
    tiny = MemoryModel(2, 2, 64, 64, 128, 32064, 32, 4, int8=False)
    four, one = Shape(4, 120, 16), Shape(1, 120, 16)
    assert tiny.peak(four) < 0.05 * 104_000_000
    fitted = fit(tiny, 104_000_000, [Measured(four, 106_900_000), Measured(one, 106_880_000)])
    rows = fitted.largest(one, 200_000_000, 16384)
    assert tiny.peak(Shape(rows, 120, 16)) < 100_000_000
    assert fitted.error is not None and fitted.error < 0.02
    large = Shape(400, 120, 16)  # a larger run does say it
    assert fit(tiny, 104_000_000, [Measured(large, 110_000_000)]).scale < 0.1


def test_nothing_measured_is_the_prior() -> None:
    fitted = fit(PHI3, 4_000_000_000, [])
    assert (fitted.scale, fitted.error, fitted.points) == (1.0, None, 0)
    assert fitted.largest(Shape(1, 256, 256), 3_000_000_000, 100) == 0
    largest = fitted.largest(Shape(1, 256, 256), 20_000_000_000, 1000)
    assert fitted.peak(Shape(largest, 256, 256)) <= 20_000_000_000 < fitted.peak(Shape(largest + 1, 256, 256))
