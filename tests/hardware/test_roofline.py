"""The roofline by hand: Phi-3 Mini int8 on an RTX 4090's 1008 GB/s."""

import pytest

from phitui.hardware.analysis.roofline import DecodeLoad, ceiling_tokens_per_s, engine_gb_s, mbu, useful_gb_s

PHI3 = DecodeLoad(weight_step_bytes=3_726_970_112, kv_token_bytes=393_216, rows=1, context_tokens=0)


def test_weights_alone():
    # 3.727 GB a step; 100 steps/s: 372.7 GB/s, 37 % of the peak; the peak allows 270.5 steps/s.
    assert useful_gb_s(PHI3, 100) == engine_gb_s(PHI3, 100) == pytest.approx(372.697, abs=0.001)
    assert mbu(PHI3, 100, 1008) == pytest.approx(0.36974, abs=1e-5)
    assert ceiling_tokens_per_s(PHI3, 1008) == pytest.approx(270.46, abs=0.01)


def test_the_cache_counts_once_as_useful_and_thrice_for_the_engine():
    load = PHI3._replace(rows=8, context_tokens=1000)
    assert load.kv_bytes == 3_145_728_000
    assert useful_gb_s(load, 10) == pytest.approx(68.727, abs=0.001)
    assert engine_gb_s(load, 10) == pytest.approx(131.642, abs=0.001)


def test_a_batch_raises_the_ceiling_by_less_than_its_rows():
    batch = PHI3._replace(rows=8, context_tokens=1000)
    # 8 · 1008e9 / (3.727e9 + 3.146e9)
    assert ceiling_tokens_per_s(batch, 1008) == pytest.approx(1173.3, abs=0.1)
    assert ceiling_tokens_per_s(PHI3._replace(rows=8), 1008) == pytest.approx(8 * 270.46, abs=0.1)
