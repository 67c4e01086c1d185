"""The search for requests at once, on a simulated server."""

import pytest

from phitui.errors import PhituiError
from phitui.tuner.concurrency import LoadGoal, LoadOutcome, search_load

GOAL = LoadGoal(prompt_tokens=100, new_tokens=100)


class Server:
    """Computes `slots` requests at once, a step of n taking fixed + n × each; the others wait."""

    def __init__(self, slots=10**9, fixed=0.02, each=0.001, kv_each=0.0, refuses_from=10**9):
        self.slots, self.fixed, self.each, self.kv_each, self.refuses_from = slots, fixed, each, kv_each, refuses_from
        self.sizes = []

    def __call__(self, size):
        self.sizes.append(size)
        if size >= self.refuses_from:
            return LoadOutcome("failed", detail="answers 429")
        rounds = -(-size // self.slots)
        step = self.fixed + min(size, self.slots) * self.each
        seconds = rounds * (0.05 + 100 * step)
        waiting, kv_use = max(0, size - self.slots), min(1.0, size * self.kv_each) if self.kv_each else None
        return LoadOutcome("ok", size * 100 / seconds, seconds, step, 1.2 * step, 0.05, waiting, kv_use)


def run(server, goal=GOAL):
    asked = search_load(goal)
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
    goal = LoadGoal(100, 100, slo_itl_s=0.060)
    answer = run(Server(100, fixed=0.02, each=0.001), goal)
    assert answer.c_slo in (29, 30)  # 1.2 × (20 + 30) ms
    assert run(Server(100), LoadGoal(100, 100, slo_itl_s=0.001)).c_slo is None
    assert run(Server(100)).c_slo is None


def test_a_server_that_answers_nothing():
    with pytest.raises(PhituiError, match="not even one request is answered: answers 429"):
        run(Server(refuses_from=1))
