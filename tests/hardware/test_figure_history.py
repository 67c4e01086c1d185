"""The history keeps what it should, in a memory that does not grow."""

import tracemalloc

from phitui.hardware.history import History, device_key
from phitui.hardware.snapshot import Device, Host, Memory, Snapshot

CARD = Device("gpu", 0, "card", "GPU-a", util_pct=50.0, vram=Memory(100, 40), power_w=200.0)


def at(time, *devices):
    return Snapshot(time, Host(), list(devices))


def test_means_of_periods_and_gaps():
    history = History(100)
    for second in range(40):
        util = None if 20 <= second < 24 else float(second)
        history.add(at(float(second), Device("gpu", 0, "card", util_pct=util)))
    means = history.means("gpu/0//", "util_pct", 4, 4.0)
    assert means == {4: 17.5, 6: 25.5, 7: 29.5, 8: 33.5, 9: 37.5}  # number 5 has no value
    assert history.newest == 39.0


def test_a_reading_stands_for_the_time_up_to_the_next():
    history = History(100)
    for minute in (0, 1, 2, 3, 7, 8):  # four minutes are missing
        util = None if minute == 2 else float(minute)
        history.add(at(60.0 * minute, Device("gpu", 0, "card", util_pct=util)))
    means = history.means("gpu/0//", "util_pct", 0, 20.0)
    assert means == {0: 0, 1: 0, 2: 0, 3: 1, 4: 1, 5: 1, 9: 3, 21: 7, 22: 7, 23: 7, 24: 8}
    assert history.means("gpu/0//", "util_pct", 4, 20.0).items() < means.items()


def test_a_device_that_comes_later_and_one_that_goes():
    history = History(10)
    history.add(at(1.0, CARD))
    other = Device("gpu", 1, "other", util_pct=7.0)
    history.add(at(2.0, CARD, other))
    history.add(at(3.0, other))
    values = dict(history.back(device_key(other), "util_pct"))
    assert values[2.0] == values[3.0] == 7.0
    assert values[1.0] != values[1.0]  # NaN
    assert history.means(device_key(CARD), "power_w", 0, 10.0) == {0: 200.0}


def test_the_newest_replace_the_oldest():
    history = History(8)
    for second in range(20):
        history.add(at(float(second), CARD))
    assert [time for time, _ in history.back(device_key(CARD), "power_w")] == [float(t) for t in range(19, 11, -1)]


def test_a_clock_that_was_set_back():
    history = History(50)
    for second in [*range(100, 110), *range(50, 54)]:
        history.add(at(float(second), Device("gpu", 0, "card", util_pct=float(second))))
    assert history.means("gpu/0//", "util_pct", 0, 2.0) == {25: 50.5, 26: 52.5}


def test_three_hours_at_one_hertz_keep_memory_flat():
    history = History()
    cards = [Device("gpu", number, "card", f"GPU-{number}", util_pct=1.0, power_w=2.0) for number in range(2)]
    sizes = []
    tracemalloc.start()
    try:
        for second in range(3 * 3600):
            history.add(at(float(second), *cards))
            if second % 1800 == 1799:
                sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert max(sizes) - sizes[0] < 20_000, sizes
    assert sizes[0] < 1_000_000


def test_devices_that_are_new_in_every_snapshot_are_forgotten():
    history = History(20)
    for second in range(500):
        history.add(at(float(second), Device("gpu", 0, "card", f"GPU-{second}", util_pct=1.0)))
    assert len(history._rings) <= 66
