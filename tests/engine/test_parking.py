"""When parking is refused. Parking itself is tried on the real engine in test_engine.py."""

import pytest

from phitui.engine.parking import Parking, check_host_room
from phitui.errors import UnavailableError

GB = 10**9


@pytest.mark.parametrize(("needed", "available"), [(4 * GB, 4 * GB), (4 * GB, 5 * GB), (0, 0), (4 * GB, None)])
def test_room_that_is_enough_or_not_known(needed, available):
    check_host_room(needed, available)


def test_a_host_without_room_is_said_with_both_figures():
    with pytest.raises(UnavailableError) as caught:
        check_host_room(3_820_000_000, 2_100_000_000)
    assert str(caught.value).startswith("host RAM is short for parking: needs 3.8 GB, 2.1 GB free. ")


class Card:
    """Takes the place of a generator on a card, of which there is none here."""

    unloaded = None

    def unload_model(self, to_cpu):
        self.unloaded = to_cpu


def test_weights_that_no_host_could_take_stay_on_the_card():
    card = Card()
    parking = Parking(card, "cuda", 2**60)
    with pytest.raises(UnavailableError, match="host RAM is short"):
        parking.park()
    assert not parking.parked and card.unloaded is None


def test_weights_that_fit_move_to_the_host():
    card = Card()
    parking = Parking(card, "cuda", 1000)
    assert parking.park() == "host memory"
    assert parking.parked and card.unloaded is True
