"""D05, D50 and D95: the train sizes from which 5, 50 and 95 % of the seeds do something, for each value of an axis.

Usually what they do is generalize, and the axis is width. Never one bare critical size: Huang et al. 2024 mean the
upper edge (near-perfect validation), Varma et al. 2023 the point of balance, and the band between is where seeds
disagree. Each comes with two intervals (`results.critical.logistic`): that of the profile, widened by what runs of one
seed have in common, and the exact one; and with the bracket, the largest size with a smaller share and the smallest
with at least that share.

A size is never extrapolated. Where no train size lies on one of its sides, all that is said is "> the largest" or
"< the smallest".

A critical size is a property of the training only when it has stopped moving: the same traces, cut at a quarter and at
half of the budget, give what it would have been. Until then it is "apparent, at T".
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from results.axes import distinct
from results.critical.logistic import Shares, count, exact_bracket, fit_place
from results.critical.outcomes import CROSSINGS, read_outcome
from results.critical.settings import CriticalSettings

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

SIZE = "train_size"


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """The train size at which a share of the seeds is reached. Sizes in training examples, NaN where not known."""

    relation: str
    """`=`: between the sizes that were trained. `>`: beyond the largest. `<`: below the smallest. `none`: the share
    falls where it should rise, or there is no run."""
    value: float
    """At most the largest size that was trained, at least the smallest."""
    low: float
    """Of the interval; NaN where the runs do not bound it."""
    high: float
    exact_low: float
    exact_high: float
    bracket_low: float
    """The largest size with a smaller share."""
    bracket_high: float
    """The smallest size with at least the share."""
    smallest: float
    largest: float
    """Of the sizes that were trained."""
    design_effect: float
    n_runs: int
    n_seeds: int
    n_sizes: int

    @property
    def is_inside(self) -> bool:
        """Whether the estimate lies between the sizes that were trained and not on the rim, where the fit was cut."""
        return self.relation == "=" and self.smallest < round(self.value, 6) < self.largest

    @property
    def floor(self) -> float:
        """What the threshold reaches by its estimate."""
        is_cut = self.relation == "=" and not self.is_inside and round(self.value, 6) <= self.smallest
        return 0.0 if is_cut else {"=": self.value, ">": self.largest, "<": 0.0}.get(self.relation, math.nan)

    @property
    def ceiling(self) -> float:
        """What it does not exceed by its estimate."""
        is_cut = self.relation == "=" and not self.is_inside and round(self.value, 6) >= self.largest
        return math.inf if is_cut else {"=": self.value, ">": math.inf, "<": self.smallest}.get(self.relation, math.nan)


def find_threshold(
    sizes: Floats, yes: Bools, seeds: npt.NDArray[Any], *, share: float = 0.5, level: float = 0.95
) -> Threshold:
    """One entry a run; `yes` becomes more frequent with size."""
    if not len(sizes):
        return _without_fit("none", count(np.zeros(0), np.zeros(0, bool)), 0, share, level)
    x = np.log(sizes)
    shares, codes = count(x, yes), np.unique(seeds, return_inverse=True)[1]
    n_seeds = int(codes.max()) + 1
    place = fit_place(x, yes, share=share, level=level, seeds=codes)
    if place is None:
        is_few, is_many = shares.share < share, shares.share >= share
        relation = ">" if is_few.all() else "<" if is_many.all() else "none"
        return _without_fit(relation, shares, n_seeds, share, level)
    return Threshold(
        relation="=",
        value=math.exp(place.value),
        low=math.nan if place.is_low_open else math.exp(place.low),
        high=math.nan if place.is_high_open else math.exp(place.high),
        design_effect=place.design_effect,
        **_beside(shares, n_seeds, share, level),
    )


def _without_fit(relation: str, shares: Shares, n_seeds: int, share: float, level: float) -> Threshold:
    """Not bracketed, so no interval; what is bounded is said by the exact one."""
    nothing: dict[str, Any] = dict.fromkeys(("value", "low", "high", "design_effect"), math.nan)
    return Threshold(relation=relation, **nothing, **_beside(shares, n_seeds, share, level))


def _beside(shares: Shares, n_seeds: int, share: float, level: float) -> dict[str, Any]:
    sizes = np.exp(shares.x)
    exact_low, exact_high = exact_bracket(shares, share=share, level=level)
    few, many = sizes[shares.share < share], sizes[shares.share >= share]
    return {
        "exact_low": math.exp(exact_low) if math.isfinite(exact_low) else math.nan,
        "exact_high": math.exp(exact_high) if math.isfinite(exact_high) else math.nan,
        "bracket_low": _whole(few.max()) if len(few) else math.nan,
        "bracket_high": _whole(many.min()) if len(many) else math.nan,
        "smallest": _whole(sizes.min()) if len(sizes) else math.nan,
        "largest": _whole(sizes.max()) if len(sizes) else math.nan,
        "n_runs": int(shares.n.sum()),
        "n_seeds": n_seeds,
        "n_sizes": len(sizes),
    }


def _whole(size: Any) -> float:
    """A train size that went through a logarithm and back."""
    return float(round(float(size)))


@dataclass(frozen=True, kw_only=True)
class CriticalSize:
    """One threshold at one value of the axis, by one budget."""

    axis_value: Any
    share: float
    """Of the seeds."""
    budget_share: float
    budget_steps: int
    threshold: Threshold
    verdict: str
    """At the full budget `stable`, `apparent` (it still moves) or `open` (no size on one of its sides); else empty."""


def critical_sizes(
    labels: pd.DataFrame,
    *,
    axis: str,
    outcome: str = "generalized",
    settings: CriticalSettings | None = None,
) -> list[CriticalSize]:
    """For each value of the axis every share and budget; for phases the full budget only."""
    settings = settings or CriticalSettings()
    found = []
    for axis_value, part in parts(labels, axis):
        at: dict[tuple[float, float], Threshold] = {}
        for budget_share in settings.budget_shares if outcome in CROSSINGS else (1.0,):
            for share in settings.shares:
                at[share, budget_share] = threshold_of(part, outcome, share, budget_share, settings.level)
        found += [
            CriticalSize(
                axis_value=axis_value,
                share=share,
                budget_share=budget_share,
                budget_steps=round(budget_share * float(part["steps"].max())),
                threshold=threshold,
                verdict=stability(threshold, at.get((share, 0.5)), settings.stability) if budget_share == 1 else "",
            )
            for (share, budget_share), threshold in at.items()
        ]
    return found


def threshold_of(
    labels: pd.DataFrame, outcome: str, share: float, budget_share: float = 1.0, level: float = 0.95
) -> Threshold:
    """Of runs that differ in train size and seed only."""
    yes, known = read_outcome(labels, outcome, budget_share)
    sizes = labels[SIZE].to_numpy(dtype=float)
    return find_threshold(sizes[known], yes[known], labels["seed"].to_numpy()[known], share=share, level=level)


def parts(labels: pd.DataFrame, name: str) -> Iterator[tuple[Any, pd.DataFrame]]:
    """The runs at each value of a column, ascending."""
    codes, values = distinct(labels[name])
    for i, value in enumerate(values):
        yield value, labels[codes == i]


def stability(now: Threshold, half: Threshold | None, tolerance: float) -> str:
    """`stable`, `apparent` (it still moves, or was not there at half of the budget) or `open` (not bracketed now)."""
    if now.relation != "=":
        return "open"
    is_stable = half is not None and half.relation == "=" and abs(half.value / now.value - 1) <= tolerance
    return "stable" if is_stable else "apparent"
