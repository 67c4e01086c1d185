"""The monitor over the real console, on the stand-in driver."""

import sys
import time
from pathlib import Path

import pytest
from terminal import Console, command, environment

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "drivers"))
import standin

pytestmark = pytest.mark.terminal
F4 = "\x1bOS"


@pytest.mark.skipif(standin.compiler() is None, reason=standin.NO_COMPILER)
def test_it_opens_shows_changes_and_closes(tmp_path):
    driver = standin.Driver(standin.build(tmp_path), tmp_path / "state", standin.profile("rtx4090"))
    environ = environment(tmp_path / "home", **driver.environment())
    with Console(command("--model", "none-of-that-name"), environ) as console:
        console.wait_for(r"GPU util +\d+ %")
        time.sleep(1.5)  # readings come in while the monitor is not there yet
        for util in (31, 47):
            console.send(F4)
            console.wait_for(r"(?s)Processes \d.*Hints")
            driver.change({"0.util_gpu": util})
            console.wait_for(f"Util +{util} %")
            console.send(F4)
            console.wait_for(f"GPU util +{util} %")
            time.sleep(1.5)
        console.send("\x11")
        assert console.wait_ended() == 0
        assert console.terminal_restored()
