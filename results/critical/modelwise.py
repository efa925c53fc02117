"""Model-wise grokking: validation comes long after training, along the width of the network instead of time.

Davies et al. 2022 and Huang et al. 2024 (section 4.2): with little data wider networks first fit the train set, and
only much wider ones generalize. In a number: the width from which mean validation accuracy stays above half, over that
from which mean training accuracy does; half is the middle between chance and 1. "Stays", because a curve that descends
twice crosses half twice. Between the values of the axis the mean over seeds is drawn straight over the logarithm of
width.

The interval of the ratio is a jackknife over seeds with Student's quantile, on the logarithm. Model-wise grokking is
said where it lies above 1.5, `none` where it lies below, `undetermined` otherwise. Where validation does not get above
half within the grid, the ratio is only known to exceed that of the largest width, and nothing is concluded.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from results.axes import distinct
from results.critical.intervals import jackknife_error
from results.critical.settings import CriticalSettings
from results.critical.sizes import SIZE, parts

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """At one train size. NaN where not known."""

    size: int
    relation: str
    """`=`, `>` (validation stays below half up to the largest width), or `none` (training does too)."""
    value: float
    low: float
    high: float
    train_at: float
    val_at: float
    verdict: str
    """`modelwise_grokking`, `none` or `undetermined`."""
    n_seeds: int


def modelwise_ratios(labels: pd.DataFrame, axis: str, settings: CriticalSettings | None = None) -> list[Ratio]:
    """One for each train size."""
    settings = settings or CriticalSettings()
    return [_ratio(size, part, axis, settings) for size, part in parts(labels, SIZE)]


def _ratio(size: int, labels: pd.DataFrame, axis: str, settings: CriticalSettings) -> Ratio:
    places = np.array(distinct(labels[axis])[1], dtype=float)
    seeds = np.unique(labels["seed"])
    half = 0.5 * (1 + float(labels["chance_accuracy"].max()))
    train, val = (seed_table(labels, axis, seeds, f"final_{kind}_accuracy") for kind in ("train", "val"))

    def both(kept: npt.NDArray[np.bool_]) -> tuple[float, float]:
        return stays_above(places, train[kept], half), stays_above(places, val[kept], half)

    train_at, val_at = both(np.ones(len(seeds), bool))
    ratio, relation = val_at / train_at, "="
    low = high = math.nan
    if math.isnan(val_at):
        ratio, relation = places[-1] / train_at, ">"
    if math.isnan(train_at):
        relation = "none"
    elif relation == "=" and len(seeds) >= 3:
        without = np.log([np.divide(*both(seeds != seed)[::-1]) for seed in seeds])
        t = stats.t.ppf((1 + settings.level) / 2, len(seeds) - 1)
        error = float(jackknife_error(without[:, None])[0])  # NaN where a seed left out leaves no crossing
        low, high = ratio * math.exp(-t * error), ratio * math.exp(t * error)
    return Ratio(
        size=size,
        relation=relation,
        value=ratio,
        low=low,
        high=high,
        train_at=train_at,
        val_at=val_at,
        verdict=_verdict(low, high, len(seeds), settings),
        n_seeds=len(seeds),
    )


def _verdict(low: float, high: float, n_seeds: int, settings: CriticalSettings) -> str:
    if n_seeds >= settings.min_seeds and low > settings.modelwise_ratio:
        return "modelwise_grokking"
    return "none" if n_seeds >= settings.min_seeds and high < settings.modelwise_ratio else "undetermined"


def seed_table(labels: pd.DataFrame, axis: str, seeds: npt.NDArray[Any], name: str) -> Floats:
    """(n_seeds, n_points), NaN where a seed has no run."""
    codes, values = distinct(labels[axis])
    mean = labels[name].astype(float).groupby([np.searchsorted(seeds, labels["seed"]), codes]).mean()
    table = np.full((len(seeds), len(values)), np.nan)
    rows, columns = zip(*mean.index, strict=True)
    table[list(rows), list(columns)] = mean.to_numpy()
    return table


def stays_above(places: Floats, values: Floats, level: float) -> float:
    """Where the mean over seeds (rows of `values`) gets above `level` for good; NaN if it ends below.

    The first place if it never lies below.
    """
    mean = np.nanmean(values, axis=0)
    below = np.flatnonzero(mean < level)
    if not len(below):
        return float(places[0])
    i = int(below[-1])
    if i == len(mean) - 1:
        return math.nan
    t = (level - mean[i]) / (mean[i + 1] - mean[i])
    return float(places[i] * (places[i + 1] / places[i]) ** t)
