"""A server as a model of its time, its KV cache and its longest_s, for the search and its pictures."""

from phitui.autotune.server_search import ServerOutcome


class Server:
    """Computes `slots` requests at once, a step of n taking fixed + n × each; the others wait."""

    def __init__(self, slots=10**9, fixed=0.02, each=0.001, kv_each=0.0, refuses_from=10**9):
        self.slots, self.fixed, self.each, self.kv_each, self.refuses_from = slots, fixed, each, kv_each, refuses_from
        self.sizes = []

    def __call__(self, size):
        self.sizes.append(size)
        if size >= self.refuses_from:
            return ServerOutcome("failed", detail="answers 429")
        rounds = -(-size // self.slots)
        step = self.fixed + min(size, self.slots) * self.each
        seconds = rounds * (0.05 + 100 * step)
        waiting, kv_use = max(0, size - self.slots), min(1.0, size * self.kv_each) if self.kv_each else None
        return ServerOutcome("ok", size * 100 / seconds, seconds, step, 1.2 * step, 0.05, waiting, kv_use)
