"""How restless a trace is by itself, near the rows that something was read at, and how far the reading may be off.

Nobody logs how noisy an accuracy is, but neighbouring rows tell: what a row differs from the middle of its neighbours
by is noise where the curve is smooth, and where it isn't, it is what the rows leave open. Either way the reading can't
be surer. Windows are short, for noise is not the same everywhere: a plateau at 1 has next to none, a rise has much.

Shapes: R runs, S rows. Row -1 is "none".
"""

import numpy as np

from results.classify.batch import FloatArray, IntArray

WINDOW = 5
"""Rows looked at on either side."""
SHARE = 2 / 3
"""The quantile that noise is read off. A row that collapses by itself spoils three differences of nine; what it does
here is two thirds of what it would do to their mean."""
DEVIATIONS_AT_SHARE = 0.967
"""Standard deviations of a normal variable at that quantile of its absolute value."""
MEDIAN_OVER_MEAN = 1.25
"""Standard error of a median over that of a mean."""
LONGEST = 1e18
"""Steps that nobody trains for. Noise over hardly any slope moves a crossing anywhere, and any number of steps fits
into a table of another tool."""


def noise_at(x_RS: FloatArray, row: IntArray) -> FloatArray:
    """Standard deviation of single rows around a row; 0 for fewer than three rows."""
    n_rows = x_RS.shape[1]
    if n_rows < 3:
        return np.zeros(len(x_RS))
    width = min(2 * WINDOW + 1, n_rows)
    start = np.clip(row - WINDOW, 0, n_rows - width)
    near_RS = np.take_along_axis(x_RS, start[:, None] + np.arange(width), axis=1)
    off_RS = np.abs(near_RS[:, 1:-1] - (near_RS[:, :-2] + near_RS[:, 2:]) / 2)
    return np.asarray(np.quantile(off_RS, SHARE, axis=1) / DEVIATIONS_AT_SHARE / np.sqrt(1.5))


def time_error(x_RS: FloatArray, smooth_RS: FloatArray, step_S: FloatArray, row: IntArray) -> FloatArray:
    """By how many steps noise moves a crossing: its height over the slope there, LONGEST at most. None for a run that
    begins above the level: it did not cross it. NaN where there is no crossing."""
    last, runs = x_RS.shape[1] - 1, np.arange(len(row))
    before, after = np.clip(row - 2, 0, last), np.clip(row + 2, 0, last)
    gained = np.maximum(smooth_RS[runs, after] - smooth_RS[runs, before], 1e-9)
    slope = gained / np.maximum(step_S[after] - step_S[before], 1)
    with np.errstate(over="ignore"):
        error = np.minimum(noise_at(x_RS, np.maximum(row, 0)) / slope, LONGEST)
    return np.where(row > 0, error, np.where(row == 0, 0.0, np.nan))


def median_error(noise: FloatArray, *n_rows: int) -> FloatArray:
    """Standard error of a median of so many rows; of a difference of medians, if several numbers are given."""
    return np.asarray(MEDIAN_OVER_MEAN * noise * np.sqrt(sum(1 / max(n, 1) for n in n_rows)))


def half_step(smooth_RS: FloatArray, row: IntArray) -> FloatArray:
    """Half of what a curve changes from the row before to the row after; NaN where there is none."""
    last, runs = smooth_RS.shape[1] - 1, np.arange(len(row))
    change = smooth_RS[runs, np.clip(row + 1, 0, last)] - smooth_RS[runs, np.clip(row - 1, 0, last)]
    return np.where(row >= 0, np.abs(change) / 2, np.nan)


def level_near(x_RS: FloatArray, step_S: FloatArray, share: float) -> FloatArray:
    """Median of the three rows around this share of the last step."""
    middle = int(np.clip(np.searchsorted(step_S, share * step_S[-1]), 1, max(len(step_S) - 2, 1)))
    return np.asarray(np.median(x_RS[:, middle - 1 : middle + 2], axis=1))
