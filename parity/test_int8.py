"""What storing and computing in fewer bits does: the stored weights exactly, int8 products within stated bounds."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from compare import TOLERANCE, Likeness, Reference, converted, log_p
from definition import int8_model, rounded
from engine import Engine

from phitui.models.precision import PRECISIONS

# Means over all positions, against transformers in float32 with the unrounded weights: KL in nats, and the share of
# positions with the same likeliest token. Measured on these models with int8 products that are exact (the definition
# in torch): KL ≤ 0.013, agreement ≥ 0.909.
EXACT = {"kl": 0.02, "agree": 0.85}
# oneDNN on x86 CPUs without VNNI adds pairs of products in 16 bits, which saturate; CTranslate2 takes oneDNN unless
# the CPU is Intel's. Measured on an AMD EPYC with AVX2: KL ≤ 0.18, agreement ≥ 0.689.
# https://uxlfoundation.github.io/oneDNN/dev_guide_int8_computations.html
SATURATING = {"kl": 0.35, "agree": 0.6}
# Against the same int8 arithmetic in torch, where products are exact. Measured: KL ≤ 2.2e-4, agreement ≥ 0.998:
# values half-way between two levels may be rounded to either.
BY_DEFINITION = {"kl": 2e-3, "agree": 0.97}
SOME = ("phi3", "phi3-gqa", "phi4-mini", "llama", "smollm2", "llama3")


def products_are_exact() -> bool:
    """Whether CTranslate2's own choice for int8 on this CPU sums products without saturating."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return True
    return "vnni" in Path("/proc/cpuinfo").read_text(encoding="utf-8")


def mkl_is_exact() -> bool:
    """Whether MKL's product sums exactly: on Intel's CPUs without VNNI it adds pairs in 16 bits, too.

    Measured on a Xeon with AVX-512 and no VNNI: KL ≤ 0.18, agreement ≥ 0.716, as oneDNN's on an EPYC.
    """
    return "GenuineIntel" not in Path("/proc/cpuinfo").read_text(encoding="utf-8")


def assert_within(found: Likeness, bound: dict[str, float]) -> None:
    assert 0 <= found.kl <= bound["kl"] and found.agree >= bound["agree"], f"{found} is out of {bound}"


def as_figures(found: Likeness, bound: dict[str, float] | None = None) -> dict[str, object]:
    figures = {"mean_kl": float(f"{found.kl:.2g}"), "same_likeliest_token": round(found.agree, 4)}
    return figures | {"max_delta_log_p": float(f"{found.largest:.2g}"), **({"bound": bound} if bound else {})}


def int8_against_float32(
    reference: Reference, engine: Engine, exact: dict[str, float], saturating: dict[str, float]
) -> dict[str, object]:
    """The figures of an engine that computes in int8, and of int8 by its definition; both must be within bounds."""
    model = int8_model(reference.model)
    engines, defined = Likeness(), Likeness()
    for ids in reference.sequences:
        expected = reference.log_p(ids)
        engines.add(expected, engine.log_p(ids))
        defined.add(expected, log_p(model, ids))
    bound = exact if products_are_exact() else saturating
    assert_within(engines, bound)
    assert_within(defined, exact)
    return {**as_figures(engines, bound), "by_definition": as_figures(defined)}


@pytest.mark.parametrize(
    "kind, quantization",
    [*((kind, "int8") for kind in SOME), *(("phi3-tied", other) for other in PRECISIONS)],
)
def test_stored_weights_are_the_rounded_ones(kind, quantization, prepared, figures, tmp_path):
    """Computed in float32, so that nothing but the stored weights is compared."""
    folder, reference = prepared(kind)
    engine = Engine(converted(folder, tmp_path / "made", quantization), "float32")
    model = rounded(reference.model, *PRECISIONS[quantization])
    likeness = Likeness()
    for ids in reference.sequences:
        likeness.add(log_p(model, ids), engine.log_p(ids))
    assert likeness.largest <= TOLERANCE
    figures("stored_weights", f"{kind} {quantization}", {"max_delta_log_p": float(f"{likeness.largest:.2g}")})


@pytest.mark.parametrize("quantization", PRECISIONS)
def test_every_stored_precision_computes_in_int8(quantization, prepared, tmp_path):
    """What a CPU does by default with each of them; CTranslate2 quantizes the wider ones while it loads them."""
    folder, reference = prepared("phi3-gqa")
    engine = Engine(converted(folder, tmp_path / "made", quantization), "int8")
    likeness = Likeness()
    for ids in reference.sequences:
        likeness.add(reference.log_p(ids), engine.log_p(ids))
    assert_within(likeness, EXACT if products_are_exact() else SATURATING)


@pytest.mark.parametrize("kind", SOME)
def test_int8_is_near_to_float32(kind, prepared, figures, tmp_path):
    """With the int8 product that CTranslate2 takes on this CPU."""
    folder, reference = prepared(kind)
    engine = Engine(converted(folder, tmp_path / "made", "int8"), "int8")
    figures("int8_against_float32", kind, int8_against_float32(reference, engine, EXACT, SATURATING))


@pytest.mark.parametrize("kind", ["phi3", "llama"])
def test_int8_is_what_its_definition_says(kind, prepared, figures, tmp_path):
    """With a product that sums exactly: this CPU's own, or else MKL's, which is slow on CPUs that are not Intel's."""
    folder, reference = prepared(kind)
    converted(folder, tmp_path / "made", "int8")
    sequences = reference.sequences[:8]
    (tmp_path / "ids.json").write_text(json.dumps(sequences), encoding="utf-8")
    paths = [str(tmp_path / name) for name in ("made", "ids.json", "log_p.npz")]
    surroundings = os.environ | {"OMP_NUM_THREADS": "1"} | ({} if products_are_exact() else {"CT2_USE_MKL": "1"})
    child = Path(__file__).with_name("int8_child.py")
    subprocess.run([sys.executable, str(child), *paths], env=surroundings, check=True)
    model, likeness = int8_model(reference.model), Likeness()
    with np.load(paths[-1]) as found:
        for ids, name in zip(sequences, found.files, strict=True):
            likeness.add(log_p(model, ids), found[name])
    bound = BY_DEFINITION if products_are_exact() or mkl_is_exact() else SATURATING
    assert_within(likeness, bound)
    figures("int8_against_its_definition", kind, as_figures(likeness, bound))
