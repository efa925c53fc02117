"""Huang et al.'s prediction of double descent, checked on train sizes that the curves have not seen.

Section 4.1: with a train size substantially below the star, networks go through progression, ungrokking and grokking as
they grow, and accuracy descends twice; above it ungrokking never comes, and it only rises. "Substantially" is read as
"outside the star's interval"; within it the prediction is `undetermined`. A train size is foretold from D50 and D_mem
fitted without its own runs: otherwise the curve would re-read the very accuracies that it foretells.
"""

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from results.critical.memory import RandomLabels, thresholds
from results.critical.settings import CriticalSettings
from results.critical.sizes import SIZE, Threshold, parts, threshold_of
from results.critical.star import Star, crossing, with_interval


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """For one train size."""

    size: int
    star: Star
    """Without the runs of this size."""
    expected: str
    """`double_descent`, `none` or `undetermined`."""
    found: str
    """Verdict of the descent test on accuracy, or `none` of these: `underpowered`, ..."""

    @property
    def agreement(self) -> str:
        """`agrees` or `disagrees`, or `undetermined` where one of the two says nothing."""
        if self.expected == "undetermined" or self.found not in ("double_descent", "none"):
            return "undetermined"
        return "agrees" if self.expected == self.found else "disagrees"


def find_star(
    labels: pd.DataFrame, random: RandomLabels, axis: str, *, outcome: str, settings: CriticalSettings
) -> Star:
    """The crossing of D50 and D_mem over the axis, with its interval over the seeds of both sweeps."""

    def without(seed: Hashable) -> Star:
        return _cross(labels[labels["seed"] != seed], thresholds(random.without(seed), axis), axis, outcome)

    seeds = sorted(set(labels["seed"]) | set(random.labels["seed"]))
    whole = _cross(labels, thresholds(random, axis), axis, outcome)
    return with_interval(whole, without, seeds, level=settings.level)


def _cross(labels: pd.DataFrame, memory: Mapping[Any, Threshold], axis: str, outcome: str) -> Star:
    """Over the values of the axis that both sweeps have."""
    critical = {value: threshold_of(part, outcome, 0.5) for value, part in parts(labels, axis) if value in memory}
    return crossing(list(critical), list(critical.values()), [memory[value] for value in critical])


def predictions(
    labels: pd.DataFrame,
    random: RandomLabels,
    verdicts: Mapping[int, str],
    axis: str,
    *,
    outcome: str,
    settings: CriticalSettings,
) -> list[Prediction]:
    """`verdicts` is what the descent test says, by train size."""
    found = []
    for size, verdict in verdicts.items():
        rest = labels[labels[SIZE] != size]
        star = find_star(rest, random, axis, outcome=outcome, settings=settings)
        found.append(Prediction(size=size, star=star, expected=expect(size, star), found=verdict))
    return found


def expect(size: float, star: Star) -> str:
    """What the star says of a train size; NaN bounds say nothing."""
    if star.relation == "none":
        return "undetermined"
    if not math.isnan(star.size_low) and size < star.size_low:
        return "double_descent"
    return "none" if not math.isnan(star.size_high) and size > star.size_high else "undetermined"
