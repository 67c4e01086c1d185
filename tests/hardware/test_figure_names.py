"""What figures and commands are called where a person reads of them."""

import re

from phitui.hardware.figure_names import by_reason, in_words
from phitui.hardware.snapshot import DEVICE_FIGURES, Process

UNITS = {"pct": "%", "bytes": "GiB", "w": "W", "c": "°C", "mhz": "MHz", "s": "GB/s", "bits": "bits", "j": "kWh"}


def test_every_figure_has_words_of_its_own_with_its_unit():
    words = [in_words(figure) for figure in (*DEVICE_FIGURES, "uuid", "gpu", "driver", "cuda", "receiver")]
    assert len(set(words)) == len(words)
    for figure, said in zip(DEVICE_FIGURES, words, strict=False):
        assert not re.search(r"[_.]", said), said
        unit = UNITS.get(figure.rpartition("_")[2], "")
        assert said.endswith(f"({unit})") is bool(unit), said


def test_figures_with_one_reason_stand_together():
    missing = {"fan_pct": "none", "power_w": "no sensor", "power_limit_w": "no sensor", "of_a_newer_phitui": "none"}
    assert dict(by_reason(missing)) == {
        "none": ["fan (%)", "of a newer phitui"], "no sensor": ["power (W)", "power limit (W)"],
    }  # fmt: skip


def test_a_long_command_begins_with_its_program():
    def command(text, room):
        return Process(1, "C", name="name", command=text).command_in(room)

    assert command("/usr/lib/xorg/Xorg :0", 21) == "/usr/lib/xorg/Xorg :0"
    assert command("/usr/lib/xorg/Xorg :0", 20) == "Xorg :0"
    assert command("/home/ada/.venv/bin/python3 -m phitui /data/x", 10) == "python3 -m phitui /data/x"
    assert command("python -c 'a/b'", 3) == "python -c 'a/b'"
    assert command("/odd/ x", 3) == "/odd/ x"
    assert command(None, 3) == "name"
    assert Process(1, "C").command_in(9) is None
