"""D50: the training size at which half of the seeds generalize.

A logistic curve in log D is fitted to one yes or no a seed. With a handful of seeds the two kinds are usually separated
by D, where plain maximum likelihood runs off to an infinitely steep curve; Firth's penalty, half the log determinant of
the information, keeps it finite. The interval is that of the profile of the penalized likelihood: exact enough at three
seeds, where a bootstrap is not.

The curve has two parameters and few sizes enter, so the likelihood is computed on a grid of D50 and steepness: no
iteration that could fail to converge. The grid spans the sizes that were trained: D50 is never extrapolated.
"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from results.classify.batch import BoolArray, FloatArray

N_PLACES = 201
N_SLOPES = 41


@dataclass(frozen=True, kw_only=True)
class D50:
    """In training examples."""

    value: float
    low: float
    """Lower end of the profile interval; the smallest size trained if the data do not bound it."""
    high: float


def fit_d50(train_sizes: FloatArray, generalized: BoolArray, level: float) -> D50 | None:
    """One entry a seed. None where D50 is not bracketed: no size at which less than half of the seeds generalize below
    one at which at least half do."""
    sizes, cell = np.unique(train_sizes, return_inverse=True)
    n_seeds = np.bincount(cell).astype(float)
    n_yes = np.bincount(cell, weights=generalized).astype(float)
    share = n_yes / n_seeds
    few, many = np.flatnonzero(share < 0.5), np.flatnonzero(share >= 0.5)
    if not len(few) or not len(many) or few[0] > many[-1]:
        return None
    places, profile = _profile(np.log(sizes), n_yes, n_seeds)
    inside = np.flatnonzero(2 * (profile.max() - profile) <= chi_square_quantile(level))
    ends = np.exp(places[[profile.argmax(), inside[0], inside[-1]]])
    return D50(value=float(ends[0]), low=float(ends[1]), high=float(ends[2]))


def chi_square_quantile(level: float) -> float:
    """One degree of freedom: the square of a two-sided normal quantile."""
    return NormalDist().inv_cdf((1 + level) / 2) ** 2


def _profile(log_sizes: FloatArray, n_yes: FloatArray, n_seeds: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Log D50 on a grid, and the penalized log likelihood there at the best slope."""
    span, gap = log_sizes[-1] - log_sizes[0], np.diff(log_sizes).min()
    places = np.linspace(log_sizes[0], log_sizes[-1], N_PLACES)
    slopes = np.geomspace(0.5 / span, 50 / gap, N_SLOPES)
    return places, _penalized(places, slopes, log_sizes, n_yes, n_seeds).max(axis=1)


def _penalized(
    places: FloatArray, slopes: FloatArray, log_sizes: FloatArray, n_yes: FloatArray, n_seeds: FloatArray
) -> FloatArray:
    """Log likelihood plus half the log determinant of the information of (intercept, slope); places x slopes."""
    x = log_sizes - log_sizes.mean()
    logit = slopes[None, :, None] * (log_sizes - places[:, None, None])
    log_yes, log_no = -np.logaddexp(0, -logit), -np.logaddexp(0, logit)
    likelihood = log_yes @ n_yes + log_no @ (n_seeds - n_yes)
    weight = np.exp(log_yes + log_no) * n_seeds
    zeroth, first, second = weight.sum(-1), weight @ x, weight @ x**2
    determinant = np.maximum(zeroth * second - first**2, np.finfo(float).tiny)
    return np.asarray(likelihood + 0.5 * np.log(determinant))
