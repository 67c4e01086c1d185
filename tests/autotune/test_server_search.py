"""The search for requests at once, on a simulated server."""

import random
from dataclasses import replace

import pytest
from simulated_server import Server

from phitui.autotune.server_search import ServerGoal, ServerKnowledge, explore_server, most_repetitions
from phitui.core.errors import PhituiError

GOAL = ServerGoal(prompt_tokens=100, new_tokens=100)


def run(server, goal=GOAL):
    asked = explore_server(ServerKnowledge(goal))
    probe = next(asked)
    try:
        while True:
            probe = asked.send(server(probe.concurrency))
    except StopIteration as end:
        return end.value


@pytest.mark.parametrize("slots", [1, 2, 3, 5, 8, 13, 32, 100])
def test_c_max_is_where_requests_begin_to_wait(slots):
    server = Server(slots)
    answer = run(server)
    assert slots - max(2, 0.06 * slots) < answer.c_max <= slots
    assert answer.bound == "waiting" and "requests wait" in answer.why
    assert answer.c_best <= answer.c_max
    assert len(server.sizes) <= 12 + 2 * 3


def test_there_are_no_more_repetitions_than_said():
    for seed in range(200):
        noise, know, most, searched = random.Random(seed), ServerKnowledge(GOAL), None, 0
        server = Server(noise.choice([7, 40, 10**9]), each=noise.uniform(0.001, 0.01))
        asked = explore_server(know)
        probe = next(asked)
        try:
            while True:
                if probe.again and most is None:
                    searched, most = len(know.verdicts), most_repetitions(GOAL, len(know.rates()))
                made = server(probe.concurrency)
                probe = asked.send(replace(made, rate=made.rate * noise.uniform(0.9, 1.1)))
        except StopIteration:
            pass
        assert 0 < searched <= GOAL.most_probes
        assert 0 < len(know.verdicts) - searched <= most <= most_repetitions(GOAL, GOAL.most_probes)


def test_kv_that_nears_its_limit_ends_it():
    answer = run(Server(kv_each=0.01))
    assert 85 <= answer.c_max <= 95
    assert answer.bound == "kv" and "KV cache" in answer.why


def test_a_server_that_refuses_more_ends_it():
    answer = run(Server(refuses_from=21))
    assert 19 <= answer.c_max <= 20 and answer.bound == "failed" and "answers 429" in answer.why


def test_throughput_that_has_stopped_growing_ends_it_and_c_best_is_the_knee():
    answer = run(Server(fixed=0.02, each=0.01))  # 97 % of the limit at about 60
    assert answer.bound == "throughput"
    truth = Server(fixed=0.02, each=0.01)
    best = max(truth(size).rate for size in range(1, answer.c_max + 1))
    assert truth(answer.c_best).rate >= 0.97 * 0.97 * best
    assert answer.c_best <= answer.c_max and answer.measurements == 3 and answer.spread == pytest.approx(0, abs=1e-6)
    assert "stopped growing" in answer.why


def test_probes_are_predicted_once_two_are_known():
    predicted = [one for one in run(Server(40)).probes if one.probe.predicted_rate is not None and one.judged == "ok"]
    assert predicted
    for one in predicted:
        assert one.probe.predicted_rate == pytest.approx(one.outcome.rate, rel=0.3)


def test_a_latency_bounds_c_slo():
    goal = ServerGoal(100, 100, slo_itl_s=0.060)
    answer = run(Server(100, fixed=0.02, each=0.001), goal)
    assert answer.c_slo in (29, 30)  # 1.2 × (20 + 30) ms
    assert run(Server(100), ServerGoal(100, 100, slo_itl_s=0.001)).c_slo is None
    assert run(Server(100)).c_slo is None


def test_a_server_that_answers_nothing():
    with pytest.raises(PhituiError, match="not even one request is answered: answers 429"):
        run(Server(refuses_from=1))


def test_fit_and_knee_are_there_from_the_second_size_on():
    know, server = ServerKnowledge(GOAL), Server(40)
    asked = explore_server(know)
    probe = next(asked)
    seen = []
    try:
        while True:
            seen.append((know.fit, know.knee))
            probe = asked.send(server(probe.concurrency))
    except StopIteration as end:
        answer = end.value
    assert seen[:2] == [(None, None)] * 2 and all(fit and knee for fit, knee in seen[2:])
    assert know.fit[:2] == (answer.fixed_s, answer.request_s)
    rates = [know.fit.rate(size) for size in range(1, answer.c_max + 1)]
    assert rates[know.knee - 1] >= 0.97 * max(rates)
    assert know.knee == 1 or rates[know.knee - 2] < 0.97 * max(rates)


def test_requests_that_wait_are_no_part_of_the_fit():
    """Those of a second round take twice as long: a line through them would bend what is predicted for the first."""
    know, server = ServerKnowledge(GOAL), Server(20, fixed=0.02, each=0.001)
    asked = explore_server(know)
    probe = next(asked)
    with pytest.raises(StopIteration):
        while True:
            probe = asked.send(server(probe.concurrency))
    assert any(one.judged == "waiting" for one in know.verdicts)
    for size in (1, 8, 20):
        assert know.fit.rate(size) == pytest.approx(server(size).rate)
