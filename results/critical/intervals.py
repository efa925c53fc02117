"""Intervals over a few clusters, the seeds: Student's of a mean, and the jackknife's error of anything else."""

import math

import numpy as np
import numpy.typing as npt
from scipy import stats

Floats = npt.NDArray[np.float64]


def student_half(values: Floats, level: float) -> float:
    """Half the width of the interval of the mean; NaN below three values."""
    if len(values) < 3:
        return math.nan
    return float(stats.t.ppf((1 + level) / 2, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values)))


def jackknife_error(values: Floats) -> Floats:
    """Standard errors from the values (n, k) with each of n clusters left out."""
    n = len(values)
    return np.asarray(np.sqrt((n - 1) / n * np.square(values - values.mean(axis=0)).sum(axis=0)))
