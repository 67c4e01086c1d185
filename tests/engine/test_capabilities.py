"""What a kind of server is said to honour is what its requests carry."""

import pytest
from msgspec.structs import replace

from phitui.engine.protocol.api import Loaded, Sampling, Turn
from phitui.engine.protocol.capabilities import LOCAL_PARAMETERS, PARAMETERS, REMOTE_PARAMETERS, supported_parameters
from phitui.engine.remote.dialects import DIALECTS
from phitui.engine.worker.generation import sampling_options

BASE = Sampling(max_tokens=64, temperature=0.5, top_k=40, top_p=0.9, repetition_penalty=1.1)
OTHER = {
    "temperature": 0.6, "top_k": 41, "top_p": 0.8, "repetition_penalty": 1.2, "max_tokens": 65, "stop": ("x",),
    "seed": 3,
}  # fmt: skip


@pytest.mark.parametrize("kind", sorted(REMOTE_PARAMETERS))
@pytest.mark.parametrize("name", PARAMETERS)
def test_a_parameter_is_honoured_where_it_changes_the_request(kind, name):
    def body(sampling):
        return DIALECTS[kind].body("m", [Turn("user", "x")], sampling)

    assert (body(replace(BASE, **{name: OTHER[name]})) != body(BASE)) == (name in REMOTE_PARAMETERS[kind])


def test_the_local_engine_takes_all_but_a_seed():
    """max_tokens and stop are not CTranslate2's options: they are kept in generation.py."""
    for name in PARAMETERS:
        options = sampling_options(replace(BASE, **{name: OTHER[name]}), "cpu")
        assert (options != sampling_options(BASE, "cpu")) == (name not in ("max_tokens", "stop", "seed"))
    assert set(LOCAL_PARAMETERS) == set(PARAMETERS) - {"seed"}
    assert (
        supported_parameters(None)
        == supported_parameters(Loaded("m", "M", "cpu", "int8", 1, 1, 1, 0.1, ""))
        == LOCAL_PARAMETERS
    )
    assert set(REMOTE_PARAMETERS) == set(DIALECTS)
