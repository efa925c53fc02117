"""What is judged: the values of seeds along an axis, higher being better."""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from results.axes import distinct
from results.descent.dips import Floats, Indices, deepest_dips


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Values of one facet: higher is better, whatever was measured."""

    axis: Floats
    values: Floats
    """(n_seeds, n_points), NaN where a seed has no value."""
    n_runs: int
    n_left_out: int
    unit: float
    is_loss: bool = False

    @property
    def counts(self) -> Floats:
        return np.asarray(np.isfinite(self.values).sum(axis=0), dtype=float)

    @property
    def means(self) -> Floats:
        return np.asarray(np.nansum(self.values, axis=0) / self.counts, dtype=float)

    def noise(self, n_resamples: int, seed: int) -> "Noise":
        """Of the means, with one random sign per seed of the curve; `seed` is that of the signs."""
        counts = self.counts
        inflation = counts / np.maximum(counts - 1, 1)
        residuals = np.nan_to_num(self.values - self.means) * inflation
        signs, which = _signs(n_resamples, len(self.values), seed)
        return Noise(distinct=np.asarray(signs @ residuals / counts, dtype=float), which=which)


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Resamples of the noise. n seeds have only 2^n ways of drawing their signs, 32 for five seeds. Each is looked at
    once and counts as often as it was drawn, so p values are those of looking at every resample."""

    distinct: Floats
    """(n_distinct, n_points)"""
    which: npt.NDArray[np.intp]
    """(n_resamples,): the row of `distinct` that was drawn."""

    def deepest_dips(self, curve: Floats, *, after_rise: bool) -> tuple[Floats, Indices, Indices]:
        """Of the curve with each resample added: depth, peak and bottom."""
        depths, peaks, bottoms = deepest_dips(curve + self.distinct, after_rise=after_rise)
        return depths[self.which], peaks[self.which], bottoms[self.which]


@functools.lru_cache(maxsize=16)
def _signs(n_resamples: int, n_seeds: int, seed: int) -> tuple[Floats, npt.NDArray[np.intp]]:
    """The distinct rows of random signs (n_distinct, n_seeds), and for each resample its row."""
    drawn = np.random.default_rng(seed).choice([-1.0, 1.0], size=(n_resamples, n_seeds))
    signs, which = np.unique(drawn, axis=0, return_inverse=True)
    return signs, which


def facets_of(labels: pd.DataFrame, facet: str | None) -> list[tuple[Any, pd.DataFrame]]:
    if facet is None:
        return [(None, labels)]
    codes, keys = distinct(labels[facet])
    return [(key, labels[codes == i]) for i, key in enumerate(keys)]


def curve_of(labels: pd.DataFrame, axis: str, value: str, is_loss: bool) -> Curve:
    """Seeds times points, sorted, so that the order of the rows does not matter."""
    values = pd.to_numeric(labels[value]).to_numpy(dtype=float)
    is_known = np.isfinite(values) & labels[axis].notna().to_numpy() & labels["seed"].notna().to_numpy()
    points, places = distinct(labels[axis][is_known])
    seeds, names = pd.factorize(labels["seed"][is_known], sort=True)
    shape = (len(names), len(places))
    flat = seeds * len(places) + points
    counts = np.bincount(flat, minlength=shape[0] * shape[1]).reshape(shape)
    sums = np.bincount(flat, weights=values[is_known], minlength=shape[0] * shape[1]).reshape(shape)
    table = np.divide(sums, counts, out=np.full(shape, np.nan), where=counts > 0)
    is_reached = (counts > 0).sum(axis=0) >= (max(2, len(names) / 2) if len(names) > 1 else 1)
    has_any = (counts[:, is_reached] > 0).any(axis=1)
    seen = table[has_any][:, is_reached]
    n_runs = int(counts[:, is_reached].sum())
    return Curve(
        axis=np.array(places, dtype=float)[is_reached],
        values=-seen if is_loss else seen,
        n_runs=n_runs,
        n_left_out=len(labels) - n_runs,
        unit=float(np.ptp(np.nanmean(seen, axis=0))) if is_loss and seen.size else 1.0,
        is_loss=is_loss,
    )


def all_or_nothing(curve: Curve) -> float:
    """1 where every accuracy is 0 or 1, near 0 where seeds scatter about their mean; 0 for a loss, which has no all."""
    if curve.is_loss or not curve.values.size:
        return 0.0
    values, means = np.clip(curve.values, 0, 1), np.clip(curve.means, 0, 1)
    spread = (means * (1 - means) * curve.counts).sum()
    return float(1 - np.nansum(values * (1 - values)) / spread) if spread > 0 else 1.0
