"""Traces as curves over time: smoothed, and read at the same steps for every run, so that seeds can be averaged.

A Gaussian kernel in log(1 + step), as Davies et al. 2022 smooth their figure 5, with a deviation of 0.1: a tenth of the
step. Rows count by the stretch of log steps that they stand for, so that a densely logged stretch does not drag its
neighbours along.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]

DEVIATION = 0.1
N_POINTS = 24


def smooth_traces(traces: pd.DataFrame, metrics: Sequence[str], budget_steps: int) -> pd.DataFrame:
    """run_id, step and the metrics at N_POINTS steps, evenly in the logarithm from the first to the budget.

    A run that does not reach a step has no row for it. Values that are not finite do not count; where there are no
    others the value is NaN.
    """
    grid = np.unique(np.geomspace(1, budget_steps, N_POINTS).round().astype(int))
    rows = traces[["run_id", "step", *metrics]].sort_values(["run_id", "step"], kind="stable")
    parts = []
    for run_id, run in rows.groupby("run_id", sort=False):
        step = run["step"].to_numpy(dtype=float)
        at = grid[grid <= step[-1]]
        weights = kernel(step, at)
        smooth = {name: _average(weights, run[name].to_numpy(dtype=float, na_value=np.nan)) for name in metrics}
        parts.append(pd.DataFrame({"run_id": run_id, "step": at, **smooth}))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["run_id", "step", *metrics])


def kernel(step: Floats, at: npt.NDArray[np.int64]) -> Floats:
    """(n_at, n_rows): the weight of each row at each step asked for; rows ascend."""
    places = np.log1p(step)
    stretch = np.gradient(places) if len(places) > 1 else np.ones(1)
    distance = (np.log1p(at)[:, None] - places[None, :]) / DEVIATION
    nearest = np.square(distance).min(axis=1, keepdims=True)  # so that no sum of weights vanishes
    return np.asarray(np.exp(-0.5 * (np.square(distance) - nearest)) * stretch)


def _average(weights: Floats, values: Floats) -> Floats:
    known = np.isfinite(values)
    total = weights[:, known].sum(axis=1)
    sums = weights[:, known] @ values[known]
    return np.asarray(np.divide(sums, total, out=np.full(len(weights), np.nan), where=total > 0))
