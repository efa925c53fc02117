"""From distances to probabilities: the scales that turn what a trace leaves open into a share of runs.

Three monotone scales, each fitted so that it predicts something that can fail, on simulated and trained runs without
the families that they are tested on (`make proof`, docs/evidence/proof/report.md):

    reading   noise -> the label is that of the same run logged cleanly and densely
    outlook   the trend -> a label that was read rightly is still that of the run when it has gone on three times as
              long; only where the phase is about what was not seen
    strangers their product -> what held in families that were left out: strangers are less sure than acquaintances
"""

import numpy as np

from results.classify.batch import FloatArray

DISTANCES = (0.0, 0.2, 0.4, 1.0, 1.8, 3.0, 7.0, 31.0)
"""Knots of `reading`: of the least certain quantity, in standard errors from its threshold."""
READING = (0.691, 0.741, 0.842, 0.928, 0.964, 0.982, 0.997, 0.997)

TRENDS = (-1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 3.0)
"""Knots of `outlook`: of the least certain quantity where its trend leads, in units of what trends err by."""
OUTLOOK = (0.75, 0.75, 0.75, 0.811, 0.85, 0.931, 0.947)

PRODUCTS = (0.5, 0.65, 0.8, 0.9, 1.0)
"""Knots of `strangers`. Of the few labels with less than the first little can be told apart."""
STRANGERS = (0.522, 0.647, 0.795, 0.896, 0.962)


def reading(distance: FloatArray, shares: tuple[float, ...] = READING) -> FloatArray:
    """`distance` from the threshold, 0 or more, in standard errors."""
    knots, place = (np.log1p(np.clip(x, 0, DISTANCES[-1])) for x in (np.array(DISTANCES), distance))
    return np.interp(place, knots, shares)


def outlook(trend: FloatArray, shares: tuple[float, ...] = OUTLOOK) -> FloatArray:
    return np.interp(trend, TRENDS, shares)


def strangers(product: FloatArray, shares: tuple[float, ...] = STRANGERS) -> FloatArray:
    return np.interp(product, PRODUCTS, shares)
