"""Does validation error descend twice along an axis?

Double descent of the error is a dip of the accuracy between two rises. On the mean over seeds m at the sorted
values of the axis, the **effect** is the deepest such dip,

    max over h < i < j < k of min(m_i - m_h, m_i - m_j, m_k - m_j):

it rises from h to the peak i, falls to the bottom j and rises again to k, and the smallest of the three legs
counts. The **dip** is the same without the first leg, for an axis that starts at the peak. Noise alone makes such
dips, and the more points the deeper, so both are compared with what they would be on a curve that only rises: the
isotonic fit to m, to which the residuals are added back with one random sign per seed (wild bootstrap of the
maximum; the seed is the cluster, because its data split and initialization go along the whole axis). Holm's
correction covers the facets. `double_descent` needs both tests, so that any finding at all is as rare as a false
dip.

Residuals are inflated by n / (n - 1), the jackknife's factor, and not by its root. Simulated on nine monotone
truths (flat, rising and saturating, noise of every shape, seeds that are all or nothing), 5 to 11 seeds, 15 points,
level 5 %: false double descents 0 to 3 %, findings of any kind 0 to 8 %; with the root up to 10 % for either. A dip
of .2 with a standard deviation of .1 is found in 71, 91 and 99 % of the cases with 5, 8 and 11 seeds.

The interval of the depth is the smallest of the Student intervals (over seeds) of its legs, lowered at the lower
end by the bootstrap's estimate of how much picking the deepest dip flatters it. Resampling seeds fails here:
nominal 95 % intervals held the truth in 96 to 99 % of the simulations, BCa in 31 to 88 %, percentiles in 21 to 89
percent.

Where seeds are all or nothing (an accuracy of 0 or 1 at each point), Student's interval fails: seeds that happen to
agree look as if they never could disagree, and with 5 to 11 seeds it held the truth of a deep dip in 8 to 40 % of the
simulations. So two seeds are added to each leg, one that gains all and one that loses all (Bonett and Price 2012, for
differences of paired proportions), each weighted by the square of **how nearly the seeds are all or nothing**:
1 - sum of v (1 - v) over sum of m (1 - m), for the values v and their means m. That is 1 for zeros and ones and near 0
for seeds that scatter about their mean, whose interval it hardly changes. Coverage is then 95 to 100 % for both, and
for everything between; the price is width, which at 3 seeds leaves nothing to be said. (tests/simulations/critical.py)

Losses are turned over, so that everything above holds for them, and are judged on their own scale: `unit` is the
range of the mean curve for a loss and 1 for an accuracy, and thresholds are in units.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats
from scipy.optimize import isotonic_regression

from results.axes import check_column, distinct, label_of

Floats = npt.NDArray[np.float64]

POWER_80 = 0.8416
"""Standard errors above the critical value at which power is 80 %."""

VERDICTS = ("double_descent", "dip_only", "none", "underpowered")


@dataclass(frozen=True, kw_only=True)
class DescentSettings:
    """Thresholds of the verdict and the size of the bootstrap."""

    threshold: float = 0.1
    """Smallest effect that counts, in units (1 for an accuracy, the range of the mean curve for a loss)."""
    alpha: float = 0.05
    """Level of the test after Holm's correction, and one minus that of the intervals."""
    min_seeds: int = 5
    """With fewer seeds the verdict is `underpowered`, whatever the curve."""
    detectable: float = 0.2
    """`none` is said only where a dip this deep (in units) would have been found with 80 % power."""
    n_resamples: int = 1999
    seed: int = 0
    """Of the bootstrap: the same labels give the same verdict."""


@dataclass(frozen=True, kw_only=True)
class Dip:
    """A dip of a curve: its depth and the indices of its start h (absent without a first rise), peak i, bottom j,
    end k."""

    depth: float
    start: int | None
    peak: int
    bottom: int
    end: int

    @property
    def legs(self) -> list[tuple[int, int]]:
        """(higher, lower) point of each leg."""
        first = [] if self.start is None else [(self.peak, self.start)]
        return [*first, (self.peak, self.bottom), (self.end, self.bottom)]


def deepest_dips(curves: Floats, *, after_rise: bool) -> tuple[Floats, npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Depth, peak and bottom of the deepest dip of each curve in `curves` (n_curves, n_points).

    Depth is 0 or less where no point lies below both of its sides; peak and bottom mean nothing then. With `after_rise`
    the peak must itself be a rise, which takes four points, otherwise three.
    """
    n_points = curves.shape[1]
    peaks, bottoms = np.triu_indices(n_points, 1)
    if n_points < 3 + after_rise:
        nothing = np.zeros(len(curves), dtype=np.intp)
        return np.full(len(curves), -np.inf), nothing, nothing
    rows = max(1, 2_000_000 // len(peaks))
    parts = [_deepest(curves[i : i + rows], peaks, bottoms, after_rise) for i in range(0, len(curves), rows)]
    depths, best = (np.concatenate(part) for part in zip(*parts, strict=True))
    return depths, peaks[best], bottoms[best]


def _deepest(
    curves: Floats, peaks: npt.NDArray[np.intp], bottoms: npt.NDArray[np.intp], after_rise: bool
) -> tuple[Floats, npt.NDArray[np.intp]]:
    recovery = np.full(curves.shape, -np.inf)
    recovery[:, :-1] = np.maximum.accumulate(curves[:, :0:-1], axis=1)[:, ::-1] - curves[:, :-1]
    depths = np.minimum(curves[:, peaks] - curves[:, bottoms], recovery[:, bottoms])
    if after_rise:
        rise = np.full(curves.shape, -np.inf)
        rise[:, 1:] = curves[:, 1:] - np.minimum.accumulate(curves[:, :-1], axis=1)
        depths = np.minimum(depths, rise[:, peaks])
    best = depths.argmax(axis=1)
    return depths[np.arange(len(curves)), best], best


def find_dip(means: Floats, *, after_rise: bool = True) -> Dip | None:
    """The deepest dip of one curve, or None if it has none."""
    depths, peaks, bottoms = deepest_dips(np.asarray(means, dtype=float)[None, :], after_rise=after_rise)
    if depths[0] <= 0:
        return None
    peak, bottom = int(peaks[0]), int(bottoms[0])
    start = int(np.argmin(means[:peak])) if after_rise else None
    return Dip(
        depth=float(depths[0]),
        start=start,
        peak=peak,
        bottom=bottom,
        end=bottom + 1 + int(np.argmax(means[bottom + 1 :])),
    )


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

    def noise(self, n_resamples: int, rng: np.random.Generator) -> Floats:
        """(n_resamples, n_points): noise of the means, one random sign per seed."""
        counts = self.counts
        inflation = counts / np.maximum(counts - 1, 1)
        residuals = np.nan_to_num(self.values - self.means) * inflation
        signs = rng.choice([-1.0, 1.0], size=(n_resamples, len(self.values)))
        return np.asarray(signs @ residuals / counts, dtype=float)


@dataclass(frozen=True, kw_only=True)
class _Test:
    """One statistic (with or without the first rise) of one curve."""

    dip: Dip | None
    p: float
    critical: float
    """Depth that noise on a rising curve exceeds with probability alpha."""

    @property
    def depth(self) -> float:
        return self.dip.depth if self.dip else 0.0


def _test(curve: Curve, noise: Floats, settings: DescentSettings, *, after_rise: bool) -> _Test:
    dip = find_dip(curve.means, after_rise=after_rise)
    if len(curve.values) < 2:
        return _Test(dip=dip, p=math.nan, critical=math.nan)
    rising = isotonic_regression(curve.means, weights=curve.counts).x
    depths = np.maximum(deepest_dips(rising + noise, after_rise=after_rise)[0], 0.0)
    observed = dip.depth if dip else 0.0
    as_deep = int((depths >= observed - 1e-12).sum())
    return _Test(dip=dip, p=(1 + as_deep) / (1 + len(depths)), critical=float(np.quantile(depths, 1 - settings.alpha)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment; NaN stays NaN and does not count as a test."""
    p = np.asarray(p_values, dtype=float)
    tested = np.flatnonzero(np.isfinite(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    adjusted = np.full(len(p), np.nan)
    factors = len(order) - np.arange(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1.0)
    return [float(value) for value in adjusted]


def descents(
    labels: pd.DataFrame,
    *,
    axis: str,
    facet: str | None = None,
    value: str = "final_val_accuracy",
    is_loss: bool | None = None,
    settings: DescentSettings | None = None,
) -> pd.DataFrame:
    """The verdict on each facet of `labels` (one row per run, with `seed`, `axis`, `facet` and `value`).

    Runs of a seed that share a point are averaged. Runs without a finite value are left out, and so are points that
    fewer than half of the seeds reach. `is_loss` defaults to whether the name of `value` says loss. The axis is
    numeric.

    Columns: the facet, `value`, `verdict` (one of VERDICTS); `effect`, `p`, `p_holm` (dip between two rises) and
    `dip`, `dip_p`, `dip_p_holm` (without the first rise); of the dip that the verdict tells of (for `dip_only` that
    without the first rise) `depth`, `depth_low`, `depth_high`, its places `start_at`, `peak_at`, `dip_at`, `end_at`
    on the axis and from `min_seeds` up the intervals `peak_at_low`, `peak_at_high`, `dip_at_low`, `dip_at_high`;
    `detectable` (the dip that would be found with 80 % power), `unit`, `n_seeds`, `n_points`, `n_runs`,
    `n_left_out`, `why`. Raises ValueError for missing columns and an axis that is not numeric.
    """
    settings = settings or DescentSettings()
    names = [axis, "seed", value] if facet is None else [axis, "seed", value, facet]
    for name in names:
        check_column(labels, name)
    if not pd.api.types.is_numeric_dtype(labels[axis]) or pd.api.types.is_bool_dtype(labels[axis]):
        raise ValueError(f"a descent runs along a numeric axis; {axis} is not one")
    is_loss = "loss" in value if is_loss is None else is_loss
    curves = {key: _curve(part, axis, value, is_loss) for key, part in _facets(labels, facet)}
    noises = [curve.noise(settings.n_resamples, np.random.default_rng(settings.seed)) for curve in curves.values()]
    rises, dips = (
        [
            _test(curve, noise, settings, after_rise=after_rise)
            for curve, noise in zip(curves.values(), noises, strict=True)
        ]
        for after_rise in (True, False)
    )
    adjusted = zip(holm([test.p for test in rises]), holm([test.p for test in dips]), strict=True)
    rows = [
        _row(curve, noise, tests, p_holm, settings, axis)
        for curve, noise, tests, p_holm in zip(
            curves.values(), noises, zip(rises, dips, strict=True), adjusted, strict=True
        )
    ]
    table = pd.DataFrame(rows)
    table.insert(0, "value", value)
    if facet is not None:
        table.insert(0, facet, list(curves))
    return table


def _facets(labels: pd.DataFrame, facet: str | None) -> list[tuple[Any, pd.DataFrame]]:
    if facet is None:
        return [(None, labels)]
    codes, keys = distinct(labels[facet])
    return [(key, labels[codes == i]) for i, key in enumerate(keys)]


def _curve(labels: pd.DataFrame, axis: str, value: str, is_loss: bool) -> Curve:
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


def _row(
    curve: Curve,
    noise: Floats,
    tests: tuple[_Test, _Test],
    p_holm: tuple[float, float],
    settings: DescentSettings,
    axis: str,
) -> dict[str, Any]:
    rise, dip = tests
    detectable = rise.critical + POWER_80 * _typical_error(curve)
    verdict = _verdict(curve, tests, p_holm, detectable, settings)
    told = dip if verdict == "dip_only" else rise
    wandering = _wandering(curve, told.dip, noise)
    row = {
        "verdict": verdict,
        "effect": rise.depth,
        "p": rise.p,
        "p_holm": p_holm[0],
        "dip": dip.depth,
        "dip_p": dip.p,
        "dip_p_holm": p_holm[1],
        "depth": told.depth,
        **_interval(curve, told.dip, wandering, settings.alpha),
        **_places(curve, told.dip, wandering, settings),
        "detectable": detectable,
        "unit": curve.unit,
        "n_seeds": len(curve.values),
        "n_points": len(curve.axis),
        "n_runs": curve.n_runs,
        "n_left_out": curve.n_left_out,
    }
    return row | {"why": _why(row, axis, settings)}


def _verdict(
    curve: Curve, tests: tuple[_Test, _Test], p_holm: tuple[float, float], detectable: float, settings: DescentSettings
) -> str:
    """`double_descent` and `dip_only` need depth and significance. `none` has to be earned: enough seeds, no dip deep
    enough to count, and the power to have seen one."""
    if len(curve.values) < settings.min_seeds or len(curve.axis) < 4:
        return "underpowered"
    is_deep = [test.depth >= settings.threshold * curve.unit and test.depth > 0 for test in tests]
    is_double, is_dip = (deep and p <= settings.alpha for deep, p in zip(is_deep, p_holm, strict=True))
    if is_dip:
        return "double_descent" if is_double else "dip_only"
    return "underpowered" if any(is_deep) or detectable > settings.detectable * curve.unit else "none"


def _typical_error(curve: Curve) -> float:
    """Root mean square, over pairs of points, of the standard error of the difference of their means."""
    if len(curve.values) < 2 or len(curve.axis) < 2:
        return math.nan
    noise = np.nan_to_num(curve.values - curve.means) / curve.counts
    covariance = noise.T @ noise * len(noise) / (len(noise) - 1)
    variances = np.diag(covariance)
    squared = variances[:, None] + variances[None, :] - 2 * covariance
    return float(np.sqrt(max(squared[np.triu_indices(len(variances), 1)].mean(), 0.0)))


@dataclass(frozen=True, kw_only=True)
class _Wandering:
    """Depth, peak and bottom (indices) of the deepest dips of the mean curve with noise added."""

    depths: Floats
    peaks: npt.NDArray[np.intp]
    bottoms: npt.NDArray[np.intp]


def _wandering(curve: Curve, dip: Dip | None, noise: Floats) -> _Wandering:
    after_rise = dip is None or dip.start is not None
    depths, peaks, bottoms = deepest_dips(curve.means + noise, after_rise=after_rise)
    is_dip = depths > 0
    return _Wandering(depths=np.maximum(depths, 0.0), peaks=peaks[is_dip], bottoms=bottoms[is_dip])


def _interval(curve: Curve, dip: Dip | None, wandering: _Wandering, alpha: float) -> dict[str, float]:
    """From the intervals of the legs over the seeds that reach both ends; NaN below three seeds and without a dip."""
    if dip is None:
        return {"depth_low": math.nan, "depth_high": math.nan}
    added = all_or_nothing(curve) ** 2
    lows, highs = zip(*(_leg_interval(curve.values, leg, alpha, added) for leg in dip.legs), strict=True)
    flattery = max(float(wandering.depths.mean()) - dip.depth, 0.0)
    return {"depth_low": min(lows) - flattery, "depth_high": min(highs)}


def all_or_nothing(curve: Curve) -> float:
    """1 where every accuracy is 0 or 1, near 0 where seeds scatter about their mean; 0 for a loss, which has no all."""
    if curve.is_loss or not curve.values.size:
        return 0.0
    values, means = np.clip(curve.values, 0, 1), np.clip(curve.means, 0, 1)
    spread = (means * (1 - means) * curve.counts).sum()
    return float(1 - np.nansum(values * (1 - values)) / spread) if spread > 0 else 1.0


def _leg_interval(values: Floats, leg: tuple[int, int], alpha: float, added: float) -> tuple[float, float]:
    """Of the mean difference over seeds, with `added` seeds each that gain 1 and that lose 1."""
    differences = values[:, leg[0]] - values[:, leg[1]]
    differences = differences[np.isfinite(differences)]
    if len(differences) < 3:
        return math.nan, math.nan
    n = len(differences) + 2 * added
    mean = float(differences.sum()) / n
    squares = float(np.square(differences - mean).sum()) + added * ((1 - mean) ** 2 + (1 + mean) ** 2)
    half = stats.t.ppf(1 - alpha / 2, n - 1) * math.sqrt(squares / (n - 1) / n)
    return mean - half, mean + half


def _places(curve: Curve, dip: Dip | None, wandering: _Wandering, settings: DescentSettings) -> dict[str, float]:
    """Where the dip lies, and how far peak and bottom wander (quantiles that are values of the axis)."""
    names = ("start_at", "peak_at", "dip_at", "end_at", "peak_at_low", "peak_at_high", "dip_at_low", "dip_at_high")
    row = dict.fromkeys(names, math.nan)
    if dip is None:
        return row
    indices = {"start_at": dip.start, "peak_at": dip.peak, "dip_at": dip.bottom, "end_at": dip.end}
    row |= {name: float(curve.axis[i]) for name, i in indices.items() if i is not None}
    if len(curve.values) < settings.min_seeds or not len(wandering.peaks):
        return row
    tails = [settings.alpha / 2, 1 - settings.alpha / 2]
    for name, found in (("peak_at", wandering.peaks), ("dip_at", wandering.bottoms)):
        low, high = np.quantile(curve.axis[found], tails, method="inverted_cdf")
        row |= {f"{name}_low": float(low), f"{name}_high": float(high)}
    return row


def _why(row: dict[str, Any], axis: str, settings: DescentSettings) -> str:
    """One sentence for reports."""
    seeds = f"{row['n_seeds']} seeds"
    if row["verdict"] in ("double_descent", "dip_only"):
        is_double = row["verdict"] == "double_descent"
        kind = "between two rises" if is_double else "without a first rise in sight"
        interval = f"[{row['depth_low']:.2g}, {row['depth_high']:.2g}]"
        place = f"peak at {axis} {label_of(row['peak_at'])}, bottom at {label_of(row['dip_at'])}"
        return f"a dip of {row['depth']:.2g} {interval} {kind}: {place}; {p_text(row)} with {seeds}"
    if row["n_points"] < 4:
        return f"{row['n_points']} points along {axis}: a dip between two rises takes four"
    if row["n_seeds"] < settings.min_seeds:
        return f"{seeds}: no verdict below {settings.min_seeds}"
    if row["verdict"] == "none":
        return f"no dip beyond noise ({p_text(row)}); {seeds} would have shown one of {row['detectable']:.2g}"
    if row["dip"] >= settings.threshold * row["unit"]:
        return f"a dip of {row['dip']:.2g} that is not beyond noise ({p_text(row)}, {seeds})"
    return f"{seeds} would have shown only a dip of {row['detectable']:.2g} or more"


def decisive_p(row: Mapping[Any, Any]) -> float:
    """The p value that the verdict of a row rests on, after Holm's correction."""
    p: float = row["dip_p_holm"] if row["verdict"] == "dip_only" else max(row["p_holm"], row["dip_p_holm"])
    return p


def p_text(row: Mapping[Any, Any]) -> str:
    """The same in words."""
    p = decisive_p(row)
    if not math.isfinite(p):
        return "no p value"
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"
