"""When parking is refused. Parking itself is tried on the real engine in test_engine.py."""

import msgspec
import pytest

from phitui.core.errors import UnavailableError
from phitui.engine.protocol.api import Loaded
from phitui.engine.worker.parking import Parking, bytes_in_memory, check_host_room
from phitui.models.footprint import Footprint

GB = 10**9


@pytest.mark.parametrize(("needed", "available"), [(4 * GB, 4 * GB), (4 * GB, 5 * GB), (0, 0), (4 * GB, None)])
def test_room_that_is_enough_or_not_known(needed, available):
    check_host_room(needed, available)


def test_a_host_without_room_is_said_with_both_figures():
    with pytest.raises(UnavailableError) as caught:
        check_host_room(3_820_000_000, 2_100_000_000)
    assert str(caught.value).startswith("host RAM is short for parking: needs 3.6 GiB, 2.0 GiB free. ")


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


def test_weights_that_loading_made_larger_need_that_much_room():
    loaded = Loaded("m", "M", "cuda", "float16", 0, 4096, 2 * GB, 1.0, "")
    assert bytes_in_memory(loaded) == 2 * GB
    footprint = Footprint(weights=4 * GB, weight_step=4 * GB, kv_token=1)
    assert bytes_in_memory(msgspec.structs.replace(loaded, footprint=footprint)) == 4 * GB
