"""The width that a network needs to generalize, and how far a change of the task or the network shifts it.

Needed is the width from which mean validation accuracy stays above half, the middle between chance and 1
(`modelwise.stays_above`: straight between widths over their logarithm). A shift is the ratio of two such widths. The
same seeds stand on both sides, so they are left out in pairs: the interval is a jackknife over seeds with Student's
quantile, on the logarithm. Below three seeds, or where a seed left out leaves no crossing, there is none. A curve that
lies above half at the smallest network already bounds the width from above only: that place is given, and no interval.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from results.axes import distinct
from results.critical.intervals import jackknife_error
from results.critical.modelwise import seed_table, stays_above
from results.replicates import with_replicate_seeds

Floats = npt.NDArray[np.float64]

LEVEL = 0.95
VALUE = "final_val_accuracy"


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """NaN where not known."""

    value: float
    low: float
    high: float
    """Of the 95 % interval."""


def half_width(labels: pd.DataFrame, axis: str = "width") -> Estimate:
    """The place on `axis` from which the mean over seeds stays above half; NaN if it ends below."""
    return _estimate([labels], axis)


def shift(base: pd.DataFrame, changed: pd.DataFrame, axis: str = "width") -> Estimate:
    """By what factor `changed` needs a larger network than `base`, on the seeds that both have."""
    return _estimate([changed, base], axis)


def _estimate(parts: list[pd.DataFrame], axis: str) -> Estimate:
    """Of the first, over the second if there is one."""
    parts = [with_replicate_seeds(part) for part in parts]
    seeds = np.array(sorted(set.intersection(*(set(part["seed"]) for part in parts))))
    places = [np.array(distinct(part[axis])[1], dtype=float) for part in parts]
    tables = [seed_table(part[part["seed"].isin(seeds)], axis, seeds, VALUE) for part in parts]
    halves = [0.5 * (1 + float(part["chance_accuracy"].max())) for part in parts]

    def log_of(kept: np.ndarray) -> float:
        found = [stays_above(x, t[kept], half) for x, t, half in zip(places, tables, halves, strict=True)]
        return math.log(found[0]) - (math.log(found[1]) if len(found) > 1 else 0.0)

    value = log_of(np.ones(len(seeds), bool))
    margin = math.nan
    is_bound = any(_is_above_from_the_start(t, half) for t, half in zip(tables, halves, strict=True))
    if len(seeds) >= 3 and not is_bound:
        without = np.array([log_of(seeds != seed) for seed in seeds])
        margin = stats.t.ppf((1 + LEVEL) / 2, len(seeds) - 1) * float(jackknife_error(without[:, None])[0])
    return Estimate(value=math.exp(value), low=math.exp(value - margin), high=math.exp(value + margin))


def _is_above_from_the_start(table: Floats, half: float) -> bool:
    return bool((np.nanmean(table, axis=0) >= half).all())
