"""The place on an axis at which a share of the seeds does something: a logistic curve fitted to a yes or no a run.

Along x, usually log train size, the share of seeds rises as a logistic curve. With a handful of seeds the two kinds of
runs are often separated by x, where plain maximum likelihood runs off to an infinitely steep curve; Firth's penalty,
half the log determinant of the information, keeps it finite (Firth 1993; Heinze and Schemper 2002). The interval is
that of the profile of the penalized likelihood.

The curve has two parameters and few values of x enter, so the likelihood is computed on a grid of place and steepness:
no iteration that could fail to converge. The grid spans the x that were run: a place is never extrapolated, and an end
of the interval that the runs do not bound is open.

The profile takes runs for independent. Runs of one seed are not: their train sets nest, so one lucky split is lucky at
every size. `fit_place` with `seeds` therefore widens the interval by the design effect: how many times larger the
variance of the place is between seeds than the model believes (the sandwich of Liang and Zeger 1986 with seeds as
clusters), never below 1, and by Student's quantile, since the seeds that it is estimated from are few. What both cover
is in LOG.md ("what the intervals of critical sizes cover").

`exact_bracket` assumes neither a curve nor that runs of a seed are independent: see there.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
from scipy import stats

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

N_PLACES = 201
N_SLOPES = 41


@dataclass(frozen=True, kw_only=True)
class Place:
    """In the unit of x."""

    value: float
    low: float
    """Lower end of the profile interval; the smallest x that was run if the runs do not bound it."""
    high: float
    is_low_open: bool
    """Whether `low` is only where the runs end."""
    is_high_open: bool
    slope: float
    """Of the logit, per unit of x."""
    design_effect: float
    """Variance between seeds over that of independent runs; 1 where it is less or seeds were not told."""


@dataclass(frozen=True, kw_only=True)
class Shares:
    """Runs counted by x, ascending."""

    x: Floats
    n_yes: Floats
    n: Floats

    @property
    def share(self) -> Floats:
        return self.n_yes / self.n


def count(x: Floats, yes: Bools) -> Shares:
    """One entry a run."""
    values, cell = np.unique(x, return_inverse=True)
    return Shares(
        x=values,
        n_yes=np.bincount(cell, weights=yes, minlength=len(values)).astype(float),
        n=np.bincount(cell, minlength=len(values)).astype(float),
    )


def is_bracketed(shares: Shares, share: float = 0.5) -> bool:
    """Whether less than `share` of the seeds say yes at some x, and at least `share` at a larger one."""
    few, many = np.flatnonzero(shares.share < share), np.flatnonzero(shares.share >= share)
    return bool(len(few) and len(many) and few[0] < many[-1])


def fit_place(
    x: Floats, yes: Bools, *, share: float = 0.5, level: float = 0.95, seeds: npt.NDArray[np.int64] | None = None
) -> Place | None:
    """Where the share reaches `share`. One entry a run; None where the runs do not bracket it.

    With `seeds` the interval of coverage `level` is that of clustered runs, otherwise that of independent ones.
    """
    shares = count(x, yes)
    if not is_bracketed(shares, share):
        return None
    places, slopes = _grid(shares.x)
    likelihood = _penalized(places, slopes, shares, share)
    profile = likelihood.max(axis=1)
    best = int(profile.argmax())
    slope = float(slopes[likelihood[best].argmax()])
    allowed = chi_square_quantile(level)
    effect = 1.0
    if seeds is not None:
        effect = design_effect(x, yes, seeds, intercept=_logit(share) - slope * places[best], slope=slope, share=share)
        n_seeds = len(np.unique(seeds))
        student = stats.t.ppf((1 + level) / 2, n_seeds - 1) ** 2 if n_seeds > 1 else math.inf
        allowed = max(allowed, effect * student)
    inside = np.flatnonzero(2 * (profile[best] - profile) <= allowed)
    return Place(
        value=float(places[best]),
        low=float(places[inside[0]]),
        high=float(places[inside[-1]]),
        is_low_open=bool(inside[0] == 0),
        is_high_open=bool(inside[-1] == len(places) - 1),
        slope=slope,
        design_effect=max(effect, 1.0),
    )


def chi_square_quantile(level: float) -> float:
    """One degree of freedom: the square of a two-sided normal quantile."""
    return NormalDist().inv_cdf((1 + level) / 2) ** 2


def _logit(share: float) -> float:
    return math.log(share / (1 - share))


def _grid(x: Floats) -> tuple[Floats, Floats]:
    span, gap = x[-1] - x[0], np.diff(x).min()
    return np.linspace(x[0], x[-1], N_PLACES), np.geomspace(0.5 / span, 50 / gap, N_SLOPES)


def _penalized(places: Floats, slopes: Floats, shares: Shares, share: float) -> Floats:
    """Log likelihood plus half the log determinant of the information of (intercept, slope); places x slopes."""
    x, n_yes, n = shares.x, shares.n_yes, shares.n
    logit = slopes[None, :, None] * (x - places[:, None, None]) + _logit(share)
    log_yes, log_no = -np.logaddexp(0, -logit), -np.logaddexp(0, logit)
    likelihood = log_yes @ n_yes + log_no @ (n - n_yes)
    weight = np.exp(log_yes + log_no) * n
    centred = x - x.mean()
    zeroth, first, second = weight.sum(-1), weight @ centred, weight @ centred**2
    determinant = np.maximum(zeroth * second - first**2, np.finfo(float).tiny)
    return np.asarray(likelihood + 0.5 * np.log(determinant))


def design_effect(
    x: Floats, yes: Bools, seeds: npt.NDArray[np.int64], *, intercept: float, slope: float, share: float
) -> float:
    """Variance of the place, the sandwich's with seeds as clusters over the model's. May be below 1."""
    place = (_logit(share) - intercept) / slope
    design = np.stack([np.ones_like(x), x - place], axis=1)
    p = 1 / (1 + np.exp(-np.clip(intercept + slope * x, -500, 500)))
    information = (design * (p * (1 - p))[:, None]).T @ design
    _, cluster = np.unique(seeds, return_inverse=True)
    n_seeds = int(cluster.max()) + 1
    scores = np.zeros((n_seeds, 2))
    np.add.at(scores, cluster, design * (yes - p)[:, None])
    if n_seeds < 2 or np.linalg.cond(information) > 1e12:
        return 1.0
    # place = (logit(share) - intercept) / slope; around it the gradient is (-1 / slope, -logit(share) / slope^2).
    gradient = np.linalg.solve(information, np.array([-1 / slope, -_logit(share) / slope**2]))
    robust = np.square(scores @ gradient).sum() * n_seeds / (n_seeds - 1)
    model = gradient @ information @ gradient
    return float(robust / model)


def exact_bracket(shares: Shares, *, share: float = 0.5, level: float = 0.95) -> tuple[float, float]:
    """An interval for the place that holds however the runs of a seed depend on each other, at any number of seeds.

    At one x the seeds are independent, so the number that say yes is binomial. Going up from the smallest x, the lower
    end is the last x in an unbroken row at which the number is too small for a share of `share` (at half of 1 - level);
    going down from the largest, the upper end is the last at which it is too large. To be wrong, such a row would have
    to pass the first x beyond the place, so its error is that of this one test, and no correction for many is due. All
    that is assumed is that the share never falls with x. -inf and inf where nothing is bounded: half of the seeds takes
    6 of them at level .95.
    """
    alpha = (1 - level) / 2
    too_few = stats.binom.cdf(shares.n_yes, shares.n, share) <= alpha
    too_many = stats.binom.sf(shares.n_yes - 1, shares.n, share) <= alpha
    n_low = int(np.argmin(np.append(too_few, False)))
    n_high = int(np.argmin(np.append(too_many[::-1], False)))
    low = float(shares.x[n_low - 1]) if n_low else -math.inf
    high = float(shares.x[len(shares.x) - n_high]) if n_high else math.inf
    return low, high
