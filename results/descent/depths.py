"""How deep a dip is and where it lies, with intervals."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from results.descent.curves import Curve, Noise, all_or_nothing
from results.descent.dips import Dip, Floats, Indices
from results.descent.settings import DescentSettings


@dataclass(frozen=True, kw_only=True)
class Wandering:
    """Depth, peak and bottom (indices) of the deepest dips of the mean curve with noise added."""

    depths: Floats
    peaks: Indices
    bottoms: Indices


def wander(curve: Curve, dip: Dip | None, noise: Noise) -> Wandering:
    after_rise = dip is None or dip.start is not None
    depths, peaks, bottoms = noise.deepest_dips(curve.means, after_rise=after_rise)
    is_dip = depths > 0
    return Wandering(depths=np.maximum(depths, 0.0), peaks=peaks[is_dip], bottoms=bottoms[is_dip])


def interval(curve: Curve, dip: Dip | None, wandering: Wandering, alpha: float) -> dict[str, float]:
    """From the intervals of the legs over the seeds that reach both ends; NaN below three seeds and without a dip."""
    if dip is None:
        return {"depth_low": math.nan, "depth_high": math.nan}
    added = all_or_nothing(curve) ** 2
    lows, highs = zip(*(_leg_interval(curve.values, leg, alpha, added) for leg in dip.legs), strict=True)
    flattery = max(float(wandering.depths.mean()) - dip.depth, 0.0)
    return {"depth_low": min(lows) - flattery, "depth_high": min(highs)}


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


def places(curve: Curve, dip: Dip | None, wandering: Wandering, settings: DescentSettings) -> dict[str, float]:
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
