"""Counts how often the simulator and the real scheduler name the same winner of two policies."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

# A predicted gain below this decides nothing that a user would notice.
CLEAR_GAIN = 1.03
# So many standard errors a measured gain must be away from 1 to be more than noise.
_ERRORS = 2.0


class Trial(NamedTuple):
    """Two policies on one workload. `said` is the second's simulated time ÷ the first's; `first` and `second` are the
    measured times of two runs each, in seconds."""

    said: float
    first: tuple[float, float]
    second: tuple[float, float]

    @property
    def measured(self) -> float:
        """The second's time ÷ the first's, by geometric means."""
        return math.sqrt(math.prod(self.second) / math.prod(self.first))

    @property
    def agrees(self) -> bool:
        """Whether the simulator names the winner. Where it says that both take equally long, it names none."""
        return (self.said - 1) * (self.measured - 1) > 0


def noise(trials: Sequence[Trial]) -> float:
    """The standard error of the logarithm of a measured gain.

    A run's variance is half the mean square difference of two runs of the same (in logarithms), over all trials; a gain
    is a difference of two means of two runs each, so its variance is the same as that of one run.
    """
    squares = [math.log(a / b) ** 2 for trial in trials for a, b in (trial.first, trial.second)]
    return math.sqrt(statistics.mean(squares) / 2)


def agreement(trials: Sequence[Trial]) -> dict[str, Any]:
    """Over all trials, over those whose predicted gain is clear, and over those whose measured gain is beyond noise."""
    error = noise(trials)
    clear = [trial for trial in trials if max(trial.said, 1 / trial.said) >= CLEAR_GAIN]
    beyond = [trial for trial in trials if abs(math.log(trial.measured)) > _ERRORS * error]
    return {
        "all": _count(trials),
        f"said_at_least_{100 * (CLEAR_GAIN - 1):.0f}_pct": _count(clear),
        "measured_beyond_noise": _count(beyond),
        "said_equal": sum(trial.said == 1 for trial in trials),
        "standard_error_of_a_gain_pct": round(100 * error, 2),
        "gains_said_and_measured": [[round(trial.said, 3), round(trial.measured, 3)] for trial in trials],
    }


def _count(trials: Sequence[Trial]) -> dict[str, Any]:
    agreed = sum(trial.agrees for trial in trials)
    return {
        "trials": len(trials),
        "agreed": agreed,
        "agreed_pct": round(100 * agreed / len(trials), 1) if trials else None,
    }
