"""The four zones that D50 and D_mem part the plane of axis and train size into, and how well they foretell labels.

Huang et al. 2024, figure 1: above the memory of the network lies **progression** (the train set cannot be memorized,
so it is fitted only as the rule is found). Below it all is memorized, and the critical size decides: **grokking** above
it, **ungrokking** below, and **semi-grokking** in the band between D05 and D95, where seeds disagree.

**The score.** Each run belongs to one of three kinds by its label alone: beyond memory (`progression`, `confusion`:
its train set was never fitted before it generalized, if it did), memorized and generalized (`grokking`), memorized and
not generalized (`memorization`, `ungrokking`). `semi-grokking` lies between the last two by definition, `comprehension`
has no place in the picture, `undecided` and `diverged` say nothing: these are left out and counted. The zones foretell
the kind of a run from axis and train size; the **balanced accuracy** is the mean over the kinds of the share that is
foretold rightly, so that naming the commonest kind scores a third. Where a curve is not known the zone is not told, and
that is a miss.

The curves were fitted to outcomes of the very runs that are foretold, so nothing is scored in sample. By default the
runs of each seed are foretold from those of the others (`seed`); harder, those of each train size or each value of the
axis from the rest (no extrapolation: at the edges the zones then say nothing). Beside the zones stand predictors that
get the same runs: `axis alone` and `size alone` (the likeliest kind at that value, kinds weighted equally; at the
nearest other value if it is left out) and, between seeds, `cell` (the likeliest kind of the other seeds at that very
place: what could be foretold at best).
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from results.axes import distinct
from results.critical.intervals import student_half
from results.critical.settings import CriticalSettings
from results.critical.sizes import SIZE, Threshold, parts, threshold_of

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Objects = npt.NDArray[np.object_]

ZONES = ("progression", "ungrokking", "semi-grokking", "grokking")
KINDS = {
    "progression": "progression",
    "confusion": "progression",
    "grokking": "grokking",
    "memorization": "ungrokking",
    "ungrokking": "ungrokking",
}
"""Phase to the zone where it belongs; other phases are not scored."""
NOT_TOLD = ""


@dataclass(frozen=True, kw_only=True)
class Curves:
    """D05, D50, D95 and D_mem over the values of an axis, ascending."""

    axis: tuple[float, ...]
    low: tuple[Threshold, ...]
    middle: tuple[Threshold, ...]
    high: tuple[Threshold, ...]
    memory: tuple[Threshold | None, ...]
    """None where no random labels were trained."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """Balanced accuracy of one predictor when `left_out` is foretold from the rest."""

    predictor: str
    left_out: str
    value: float
    low: float
    """Student interval over seeds of the balanced accuracy of each."""
    high: float
    told: float
    """Share of the scored runs for which anything was foretold."""
    n_runs: int
    n_left_out: int
    """Runs whose label has no place in the picture."""
    n_seeds: int


def fit_curves(
    labels: pd.DataFrame, axis: str, memory: Mapping[Any, Threshold], settings: CriticalSettings, outcome: str
) -> Curves:
    """At the full budget. `memory` is D_mem by value of the axis."""
    values, lines = [], []
    for value, part in parts(labels, axis):
        values.append(float(value))
        lines.append(tuple(threshold_of(part, outcome, share, level=settings.level) for share in settings.shares))
    low, middle, high = zip(*lines, strict=True)
    return Curves(
        axis=tuple(values), low=low, middle=middle, high=high, memory=tuple(memory.get(value) for value in values)
    )


def zone_of(curves: Curves, axis_value: float, size: float, *, band: bool) -> str:
    """The zone of a point, "" where the curves do not tell. Without `band` semi-grokking is part of its neighbours."""
    return str(zones_at(curves, axis_value, np.array([size], dtype=float), band=band)[0])


def zones_at(curves: Curves, axis_value: float, sizes: Floats, *, band: bool) -> Objects:
    """The zones of points one above the other."""
    above, below = _sides(curves.memory, curves, axis_value, sizes)
    found = np.where(above, "progression", NOT_TOLD).astype(object)
    for sides, zone in zip(_sides(curves.middle, curves, axis_value, sizes), ("grokking", "ungrokking"), strict=True):
        found[below & sides] = zone
    if band:
        is_within = _sides(curves.low, curves, axis_value, sizes)[0] & _sides(curves.high, curves, axis_value, sizes)[1]
        found[below & is_within] = "semi-grokking"
    return found


def _sides(line: Sequence[Threshold | None], curves: Curves, axis_value: float, sizes: Floats) -> tuple[Bools, Bools]:
    """Whether sizes surely lie above a curve, and whether they surely do not."""
    floor, ceiling = _bounds(line, curves, axis_value)
    return np.asarray(sizes > ceiling), np.asarray(sizes <= floor)


def _bounds(line: Sequence[Threshold | None], curves: Curves, axis_value: float) -> tuple[float, float]:
    """What a curve surely reaches and does not exceed; between values of the axis that of the line through its
    neighbours, or where one of these is only bounded the looser of the two. Beyond the axis nothing is known."""
    at = [i for i, value in enumerate(curves.axis) if math.isclose(value, axis_value)]
    right = int(np.searchsorted(curves.axis, axis_value))
    if at:
        ends = [line[at[0]]]
    elif right in (0, len(curves.axis)):
        ends = [None]
    else:
        ends = [line[right - 1], line[right]]
    known = [end for end in ends if end is not None and end.relation != "none"]
    if len(known) < len(ends):
        return 0.0, math.inf
    if len(known) == 2 and all(end.is_inside for end in known):
        x0, x1 = math.log(curves.axis[right - 1]), math.log(curves.axis[right])
        value = known[0].value * (known[1].value / known[0].value) ** ((math.log(axis_value) - x0) / (x1 - x0))
        return value, value
    # "Smaller than the smallest size" puts that size itself above.
    ceilings = [math.nextafter(end.ceiling, 0) if end.relation == "<" else end.ceiling for end in known]
    return min(end.floor for end in known), max(ceilings)


# The score


def kinds(labels: pd.DataFrame) -> Objects:
    """By run the zone where its label belongs, "" for those that are not scored."""
    return np.array([KINDS.get(phase, NOT_TOLD) for phase in labels["phase"]], dtype=object)


Predictor = Callable[[pd.DataFrame, Objects, pd.DataFrame], Objects]
"""From the known runs with their kinds, the kinds of others."""


def score_zones(
    labels: pd.DataFrame,
    *,
    axis: str,
    memory_without: Callable[[Any], Mapping[Any, Threshold]],
    settings: CriticalSettings,
    outcome: str = "generalized",
) -> list[Score]:
    """`memory_without(seed)` is D_mem by value of the axis from the other seeds; from all of them for None."""
    truth = kinds(labels)
    scores = []
    for left_out, name in (("seed", "seed"), (SIZE, SIZE), (axis, axis)):
        for predictor, foretell in _predictors(axis, left_out, memory_without, settings, outcome).items():
            told = np.full(len(labels), NOT_TOLD, dtype=object)
            for held, known in _folds(labels, name):
                told[held] = foretell(labels[known], truth[known], labels[held])
            scores.append(_score(predictor, left_out, labels["seed"].to_numpy(), truth, told, settings.level))
    return scores


def _folds(labels: pd.DataFrame, name: str) -> Iterator[tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]]:
    codes, values = distinct(labels[name])
    for i in range(len(values)):
        yield codes == i, codes != i


def _predictors(
    axis: str,
    left_out: str,
    memory_without: Callable[[Any], Mapping[Any, Threshold]],
    settings: CriticalSettings,
    outcome: str,
) -> dict[str, Predictor]:
    def zones(known: pd.DataFrame, _: Objects, asked: pd.DataFrame) -> Objects:
        memory = memory_without(asked["seed"].iloc[0] if left_out == "seed" else None)
        curves = fit_curves(known, axis, memory, settings, outcome)
        points = zip(asked[axis], asked[SIZE], strict=True)
        return np.array([zone_of(curves, float(x), float(size), band=False) for x, size in points], dtype=object)

    alone: dict[str, Predictor] = {
        f"{axis} alone": lambda known, kind, asked: _likeliest(known[[axis]], kind, asked[[axis]]),
        "size alone": lambda known, kind, asked: _likeliest(known[[SIZE]], kind, asked[[SIZE]]),
    }
    cell: dict[str, Predictor] = {
        "cell": lambda known, kind, asked: _likeliest(known[[axis, SIZE]], kind, asked[[axis, SIZE]])
    }
    return {"zones": zones, **alone, **(cell if left_out == "seed" else {})}


def _likeliest(known: pd.DataFrame, kind: Objects, asked: pd.DataFrame) -> Objects:
    """The kind with the largest share of its own runs among those at the nearest known place (in logarithms)."""
    scored = kind != NOT_TOLD
    places = np.log(known[scored].to_numpy(dtype=float))
    names, codes = np.unique(kind[scored].astype(str), return_inverse=True)
    weights = 1 / np.bincount(codes)
    found: dict[bytes, str] = {}
    for point in np.unique(np.log(asked.to_numpy(dtype=float)), axis=0):
        distance = np.abs(places - point).sum(axis=1)
        near = distance <= distance.min() + 1e-9
        found[point.tobytes()] = str(names[np.argmax(np.bincount(codes[near], minlength=len(names)) * weights)])
    return np.array([found[point.tobytes()] for point in np.log(asked.to_numpy(dtype=float))], dtype=object)


def _score(
    predictor: str, left_out: str, seeds: npt.NDArray[Any], truth: Objects, told: Objects, level: float
) -> Score:
    scored = truth != NOT_TOLD
    of_seed = [scored & (seeds == seed) for seed in np.unique(seeds)]
    each = np.array([balanced_accuracy(truth[own], told[own]) for own in of_seed])
    each = each[np.isfinite(each)]
    half = student_half(each, level)
    value = balanced_accuracy(truth[scored], told[scored])
    return Score(
        predictor=predictor,
        left_out=left_out,
        value=value,
        low=max(value - half, 0.0),
        high=min(value + half, 1.0),
        told=float((told[scored] != NOT_TOLD).mean()) if scored.any() else math.nan,
        n_runs=int(scored.sum()),
        n_left_out=int((~scored).sum()),
        n_seeds=len(each),
    )


def balanced_accuracy(truth: Objects, told: Objects) -> float:
    """Mean over the kinds that occur in `truth` of the share told rightly; NaN without any."""
    shares = [float((told[truth == kind] == kind).mean()) for kind in sorted(set(truth))]
    return float(np.mean(shares)) if shares else math.nan
