"""The scales of the confidence (results.classify.calibration), fitted: each family with equal weight, and every choice
judged by families that were left out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import lsq_linear

from results.classify.calibration import DISTANCES, PRODUCTS, TRENDS, outlook, reading, strangers

Pools = Mapping[str, pd.DataFrame]
"""By family, decided labels: distance, side and trend (results.classify.confidence), and what is asked of them: right
(the label of the clean log of the same budget) and stays (of three times the budget)."""


@dataclass(frozen=True, kw_only=True)
class Scales:
    reading: tuple[float, ...]
    outlook: tuple[float, ...]
    strangers: tuple[float, ...] = PRODUCTS

    def product(self, pool: pd.DataFrame) -> np.ndarray:
        read = reading(pool["distance"].to_numpy(), self.reading) * pool["side"].to_numpy()
        trend = pool["trend"].to_numpy()
        return np.where(np.isnan(trend), read, read * outlook(trend, self.outlook))

    def promised(self, pool: pd.DataFrame) -> np.ndarray:
        return strangers(self.product(pool), self.strangers)


def fit_scales(pools: Pools) -> Scales:
    """The last scale is fitted to what the others promise of families that they were not fitted to; so it takes two
    families at least, and stays as it is with one."""
    whole = fit_product(list(pools.values()))
    if len(pools) < 2:
        return whole
    products = []
    for name, pool in pools.items():
        without = fit_product([other for each, other in pools.items() if each != name])
        products.append(pool.assign(product=without.product(pool)))
    pool = weighted(products)
    nothing = pd.Series(1.0, pool.index)
    held = rising_curve(np.array(PRODUCTS), pool["product"], pool["stays"], pool["weight"], nothing)
    # Of what holds in less than half of the runs the opposite should be said.
    return Scales(reading=whole.reading, outlook=whole.outlook, strangers=tuple(max(share, 0.5) for share in held))


def fit_product(pools: Sequence[pd.DataFrame]) -> Scales:
    """First what is read rightly, then what of it stays."""
    pool = weighted(pools)
    distance = np.log1p(np.clip(pool["distance"], 0, DISTANCES[-1]))
    read = rising_curve(np.log1p(DISTANCES), distance, pool["right"], pool["weight"], pool["side"])
    may_change = pool[pool["trend"].notna()]
    already = reading(may_change["distance"].to_numpy(), read) * may_change["side"]
    stay = rising_curve(np.array(TRENDS), may_change["trend"], may_change["stays"], may_change["weight"], already)
    return Scales(reading=read, outlook=stay)


def weighted(pools: Sequence[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat([pool.assign(weight=1 / len(pool)) for pool in pools if len(pool)], ignore_index=True)


def rising_curve(
    knots: np.ndarray, x: pd.Series, holds: pd.Series, weight: pd.Series, already: pd.Series
) -> tuple[float, ...]:
    """Shares at the knots, never falling, such that the piecewise linear curve times `already` is nearest to what held:
    weighted least squares."""
    hats = np.array([np.interp(x, knots, row) for row in np.eye(len(knots))]) * already.to_numpy()
    # Not falling means: a sum of steps that are not negative.
    steps = np.tril(np.ones((len(knots), len(knots))))
    root = np.sqrt(weight.to_numpy())
    found = lsq_linear((hats.T @ steps) * root[:, None], holds.to_numpy(float) * root, bounds=(0, 1))
    return tuple(float(share) for share in np.minimum(steps @ found.x, 1))
