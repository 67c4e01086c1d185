"""Who may use the engine: the table of leases, without an engine."""

import asyncio

import pytest

from phitui.core.errors import UnavailableError, UsageError
from phitui.workbench.lease import Leases, Use


def test_what_does_not_disturb_each_other_is_held_together():
    leases = Leases()
    held = [leases.claim(use) for use in (Use.ANSWER, Use.ROWS, Use.MODEL_WORK)]
    assert None not in held and leases.losses(Use.ANSWER) == []
    leases.check(Use.PARK)


@pytest.mark.parametrize(
    ("wanted", "held", "about", "says"),
    [
        (Use.ANSWER, Use.TUNING, "the chat has no engine", "a tuning is under way: the chat has no engine"),
        (Use.MODEL_WORK, Use.TUNING, "", "a tuning is under way: other work would spoil it"),
        (Use.TUNING, Use.TUNING, "", "a tuning is under way already"),
        (Use.TUNING, Use.ROWS, "", "a batch is running on the engine"),
        (Use.TUNING, Use.MODEL_WORK, "x is being worked on", "x is being worked on, which would be measured, too"),
        (Use.TUNING, Use.SWITCH, "x is being loaded", "x is being loaded"),
        (Use.SWITCH, Use.TUNING, "", "a tuning is under way: the engine stays as it is"),
        (Use.PARK, Use.TUNING, "", "a tuning is under way: the model cannot be parked"),
        (Use.PARK, Use.SWITCH, "x is being loaded", "x is being loaded"),
    ],
)
def test_what_is_refused_says_why(wanted, held, about, says):
    leases = Leases()
    lease = leases.claim(held, about)
    kind = UnavailableError if wanted is Use.ANSWER else UsageError
    for ask in (leases.check, leases.claim):
        with pytest.raises(kind) as refused:
            ask(wanted)
        assert str(refused.value).startswith(says) and "{" not in str(refused.value)
    lease.release()
    leases.check(wanted)


@pytest.mark.parametrize("wanted", [Use.TUNING, Use.SWITCH])
async def test_what_is_stopped_is_told_before_and_has_ended_after(wanted):
    leases, stopped = Leases(), []
    answer = None

    async def stop():
        await asyncio.sleep(0.01)
        answer.release()
        stopped.append(True)

    answer = leases.claim(Use.ANSWER, stop=stop)
    assert leases.losses(wanted) == ["An answer is being made: it stops, the text so far stays."]
    lease = leases.claim(wanted, "x is being loaded")
    assert stopped == []  # not before it is needed
    await lease.have_alone()
    assert stopped == [True] and leases.losses(wanted) == []


async def test_what_waits_is_told_when_to_try_again():
    leases, told = Leases(), []
    switch = leases.claim(Use.SWITCH)
    leases.subscribe(lambda: told.append(leases.waits_for(Use.ROWS)))
    assert leases.claim(Use.ROWS) is None  # a file that would be stopped in a moment
    answer = leases.claim(Use.ANSWER)
    assert answer is not None  # while a server is asked whether it is there, prompts go on
    answer.release()
    await switch.have_alone()
    assert leases.claim(Use.ANSWER) is None
    switch.release()
    switch.release()
    assert told[0] == "another engine is being started" and told[-1] == ""
    assert leases.claim(Use.ROWS) is not None


async def test_a_lease_that_becomes_another_lets_nobody_in_between():
    leases, got = Leases(), []
    tuning = leases.claim(Use.TUNING)
    await tuning.have_alone()
    leases.subscribe(lambda: got.append(leases.claim(Use.ROWS)))
    tuning.become(Use.SWITCH, "the model comes back")
    assert got == [None]
    with pytest.raises(UsageError, match="the model comes back"):
        leases.check(Use.TUNING)
