"""The steps back from running out of memory. A generator that fails as often as it is told stands for the card; the
first step on the real engine is in test_probing.py."""

from types import SimpleNamespace

import pytest

from phitui.engine.worker.recovery import EngineLostError, recover


class Failing:
    """Fails `calls` times to generate; loading it anew mends it or, with `loads` False, fails as well."""

    num_active_batches = num_queued_batches = 0

    def __init__(self, calls, mended_by_load=True, loads=True):
        self.calls, self.mended_by_load, self.loads = calls, mended_by_load, loads
        self.log = []

    def generate_batch(self, *_, **__):
        self.log.append("token")
        if self.calls:
            self.calls -= 1
            raise RuntimeError("CUDA failed with error out of memory")

    def unload_model(self):
        self.log.append("unload")

    def load_model(self):
        self.log.append("load")
        if not self.loads:
            raise RuntimeError("CUDA failed with error out of memory")
        if self.mended_by_load:
            self.calls = 0


def model_with(generator):
    return SimpleNamespace(
        generator=generator,
        manifest=SimpleNamespace(end_tokens=["<|end|>"], is_awq=False),
        loaded=SimpleNamespace(device="cuda"),
    )


@pytest.mark.parametrize("failures", [0, 1])
def test_one_stale_error_is_let_pass(failures):
    generator = Failing(failures)
    assert recover(model_with(generator)) == "the engine goes on"
    assert generator.log == ["token", "token"]


def test_then_the_model_is_loaded_again():
    generator = Failing(2)
    assert recover(model_with(generator)) == "the model was loaded again"
    assert generator.log == ["token", "token", "unload", "load", "token"]


@pytest.mark.parametrize("options", [{"loads": False}, {"mended_by_load": False}])
def test_then_only_a_new_process_helps(options):
    with pytest.raises(EngineLostError, match="memory ran out, and the model cannot be loaded again"):
        recover(model_with(Failing(9, **options)))
