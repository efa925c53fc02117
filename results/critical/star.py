"""Where the curves of a critical size and of memory cross over the axis: the star of Huang et al. 2024, figure 1.

At each value of the axis both curves are a number, or only bounded by the sizes that were trained. The sign of
log D_mem - log D50 is known where the bounds part them. The star lies between the last value where memory is surely the
smaller and the first after it where it is surely the larger. If these are neighbours and all four numbers are known, it
is where the lines through them cross on paper with both axes in logarithms; otherwise only that interval is said, and
where one curve never crosses the other inside the grid there is no star.

The interval of its place is a jackknife over seeds: each seed is left out of both sweeps together (it decides split and
initialization in both), each time both curves and their crossing are computed anew, and the spread of these gives the
error, with Student's quantile. Width and size hold together with the stated probability (Bonferroni).
"""

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from scipy import stats

from results.critical.intervals import jackknife_error
from results.critical.sizes import Threshold


@dataclass(frozen=True, kw_only=True)
class Star:
    """The crossing. NaN where not known."""

    relation: str
    """`=`: inside the grid. `between`: inside, but one curve is only bounded there, so the place is too. `none`."""
    axis_value: float
    size: float
    axis_low: float
    """Of the joint interval for `=`, of the neighbours for `between`."""
    axis_high: float
    size_low: float
    size_high: float
    """For `between` what is known of the curves there: NaN where they are open."""
    n_seeds: int
    why: str


def crossing(axis: Sequence[float], critical: Sequence[Threshold], memory: Sequence[Threshold]) -> Star:
    """Of curves over positive, ascending values of an axis, one entry each. The interval is left open."""
    signs = [_sign(d50, d_mem) for d50, d_mem in zip(critical, memory, strict=True)]
    known = [i for i, sign in enumerate(signs) if sign]
    steps = [(i, j) for i, j in pairwise(known) if signs[i] < 0 < signs[j]]
    if not steps:
        return _no_star(signs)
    i, j = steps[-1]
    ends = (critical[i], critical[j], memory[i], memory[j])
    if j == i + 1 and all(end.is_inside for end in ends):
        axis_value, size = _meet(axis[i], axis[j], *(end.value for end in ends))
        return _star("=", axis_value=axis_value, size=size, why=f"between {axis[i]:g} and {axis[j]:g}")
    low, high = _within(critical[i : j + 1], memory[i : j + 1])
    return _star(
        "between",
        axis_low=float(axis[i]),
        axis_high=float(axis[j]),
        size_low=low,
        size_high=high,
        why=f"between {axis[i]:g} and {axis[j]:g}, where a curve is only bounded",
    )


def _within(critical: Sequence[Threshold], memory: Sequence[Threshold]) -> tuple[float, float]:
    """The crossing lies on both curves, so within the values of each."""
    low = max(min(end.floor for end in curve) for curve in (critical, memory))
    high = min(max(end.ceiling for end in curve) for curve in (critical, memory))
    return low if low > 0 else math.nan, high if math.isfinite(high) else math.nan


def _star(relation: str, **known: Any) -> Star:
    names = ("axis_value", "size", "axis_low", "axis_high", "size_low", "size_high")
    return Star(relation=relation, **{**dict.fromkeys(names, math.nan), "n_seeds": 0, "why": "", **known})


def _no_star(signs: Sequence[int]) -> Star:
    if all(sign <= 0 for sign in signs) and any(signs):
        return _star("none", why="memory is the smaller one wherever that is known")
    if all(sign >= 0 for sign in signs) and any(signs):
        return _star("none", why="memory is the larger one wherever that is known")
    return _star("none", why="the curves do not part" if not any(signs) else "memory falls below along the axis")


def _sign(critical: Threshold, memory: Threshold) -> int:
    """Of log memory - log critical; 0 where the bounds do not tell, or one curve has no number at all."""
    if memory.ceiling <= critical.floor and memory.floor < critical.ceiling:
        return -1
    if memory.floor >= critical.ceiling and memory.ceiling > critical.floor:
        return 1
    return 0


def _meet(x0: float, x1: float, d0: float, d1: float, m0: float, m1: float) -> tuple[float, float]:
    gap0, gap1 = math.log(m0 / d0), math.log(m1 / d1)
    t = -gap0 / (gap1 - gap0)
    return x0 * (x1 / x0) ** t, d0 * (d1 / d0) ** t


def with_interval(
    whole: Star, without: Callable[[Hashable], Star], seeds: Iterable[Hashable], *, level: float = 0.95
) -> Star:
    """`whole` with the joint interval of its place. `without(seed)` is the crossing when a seed is left out.

    The interval is open where a seed left out moves the crossing out of the grid, and below three seeds.
    """
    seeds = list(seeds)
    if whole.relation != "=" or len(seeds) < 3:
        return replace(whole, n_seeds=len(seeds))
    stars = [without(seed) for seed in seeds]
    if any(star.relation != "=" for star in stars):
        lost = sum(star.relation != "=" for star in stars)
        why = f"{whole.why}; without {lost} of {len(seeds)} seeds there is no crossing, so no interval"
        return replace(whole, n_seeds=len(seeds), why=why)
    places = np.log([[star.axis_value, star.size] for star in stars])
    error = jackknife_error(places)
    half = error * stats.t.ppf(1 - (1 - level) / 4, len(seeds) - 1)
    center = np.log([whole.axis_value, whole.size])
    low, high = np.exp(center - half), np.exp(center + half)
    return replace(
        whole,
        axis_low=float(low[0]),
        axis_high=float(high[0]),
        size_low=float(low[1]),
        size_high=float(high[1]),
        n_seeds=len(seeds),
    )
