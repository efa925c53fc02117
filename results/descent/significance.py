"""Is a dip deeper than noise alone makes it on a curve that only rises?"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import isotonic_regression

from results.descent.curves import Curve, Noise
from results.descent.dips import Dip, find_dip
from results.descent.settings import DescentSettings

POWER_80 = 0.8416
"""Standard errors above the critical value at which power is 80 %."""


@dataclass(frozen=True, kw_only=True)
class DipTest:
    """One statistic (with or without the first rise) of one curve."""

    dip: Dip | None
    p: float
    critical: float
    """Depth that noise on a rising curve exceeds with probability alpha."""

    @property
    def depth(self) -> float:
        return self.dip.depth if self.dip else 0.0


def dip_test(curve: Curve, noise: Noise, settings: DescentSettings, *, after_rise: bool) -> DipTest:
    dip = find_dip(curve.means, after_rise=after_rise)
    if len(curve.values) < 2:
        return DipTest(dip=dip, p=math.nan, critical=math.nan)
    rising = isotonic_regression(curve.means, weights=curve.counts).x
    depths = np.maximum(noise.deepest_dips(rising, after_rise=after_rise)[0], 0.0)
    observed = dip.depth if dip else 0.0
    as_deep = int((depths >= observed - 1e-12).sum())
    return DipTest(
        dip=dip, p=(1 + as_deep) / (1 + len(depths)), critical=float(np.quantile(depths, 1 - settings.alpha))
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment; NaN stays NaN and does not count as a test."""
    p = np.asarray(p_values, dtype=float)
    tested = np.flatnonzero(np.isfinite(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    adjusted = np.full(len(p), np.nan)
    factors = len(order) - np.arange(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1.0)
    return [float(value) for value in adjusted]


def typical_error(curve: Curve) -> float:
    """Root mean square, over pairs of points, of the standard error of the difference of their means."""
    if len(curve.values) < 2 or len(curve.axis) < 2:
        return math.nan
    noise = np.nan_to_num(curve.values - curve.means) / curve.counts
    covariance = noise.T @ noise * len(noise) / (len(noise) - 1)
    variances = np.diag(covariance)
    squared = variances[:, None] + variances[None, :] - 2 * covariance
    return float(np.sqrt(max(squared[np.triu_indices(len(variances), 1)].mean(), 0.0)))
