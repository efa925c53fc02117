"""Which phase most runs of a cell show: the numbers behind every phase diagram."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from results.axes import check_column, distinct
from results.palette import PHASE_ORDER
from results.replicates import SEED_COLUMNS


def diagram_table(labels: pd.DataFrame, x: str, y: str | None = None, facet: str | None = None) -> pd.DataFrame:
    """One row per cell that holds runs: the axes, `phase` (the majority), `agreement` (its share), `n` (runs) and
    `tied` (other phases with as many runs, comma separated, else "").

    Rows are sorted by facet, y, x; a null value of an axis is None and comes last. Any column of `labels` will do as an
    axis. ValueError for a name that is no column, and for phases that are not in PHASE_ORDER.
    """
    axes = [name for name in (facet, y, x) if name is not None]
    if repeated := sorted({name for name in axes if axes.count(name) > 1}):
        raise ValueError(f"{', '.join(repeated)} is given for two axes of the diagram")
    for name in (*axes, "phase"):
        check_column(labels, name)
    codes, keys = zip(*(distinct(labels[name]) for name in axes), strict=True)
    shape = tuple(len(key) for key in keys)
    cells = np.asarray(np.ravel_multi_index(codes, shape), dtype=np.intp)
    counts = _phase_counts(labels["phase"], cells, math.prod(shape))
    held = np.flatnonzero(counts.sum(axis=1))
    places = np.unravel_index(held, shape)
    columns = {name: _objects(key, place) for name, key, place in zip(axes, keys, places, strict=True)}
    return pd.DataFrame(columns | _majority(counts[held]))


def phase_shares(labels: pd.DataFrame, axis: str) -> pd.DataFrame:
    """Share of each phase (columns, in PHASE_ORDER) among the runs at each value of `axis` (index, sorted)."""
    codes, keys = distinct(labels[axis])
    counts = _phase_counts(labels["phase"], codes, len(keys))
    return pd.DataFrame(
        counts / counts.sum(axis=1, keepdims=True), index=_objects(keys, np.arange(len(keys))), columns=PHASE_ORDER
    )


def _phase_counts(phases: pd.Series, cells: npt.NDArray[np.intp], n_cells: int) -> npt.NDArray[np.int64]:
    """Runs of each phase (columns, in PHASE_ORDER) in each cell (rows)."""
    known = {phase: i for i, phase in enumerate(PHASE_ORDER)}
    if unknown := sorted({str(phase) for phase in phases.unique() if phase not in known}):
        raise ValueError(f"not a phase: {', '.join(unknown)}. The phases are {', '.join(PHASE_ORDER)}")
    codes = phases.map(known).to_numpy(dtype=np.int64)
    flat = np.bincount(cells * len(known) + codes, minlength=n_cells * len(known))
    return flat.reshape(n_cells, len(known))


def _majority(counts: npt.NDArray[np.int64]) -> dict[str, Any]:
    winners = counts.argmax(axis=1)  # of equals the first, and columns are in PHASE_ORDER
    most = counts.max(axis=1, initial=0)
    tied = [
        ", ".join(PHASE_ORDER[j] for j in np.flatnonzero(row == top) if j != winner)
        for row, top, winner in zip(counts, most, winners, strict=True)
    ]
    n = counts.sum(axis=1)
    return {"phase": [PHASE_ORDER[j] for j in winners], "agreement": most / n, "n": n, "tied": tied}


def _objects(keys: Sequence[Any], places: npt.NDArray[np.intp]) -> pd.Series:
    """Values as they are, so that None beside numbers stays None and does not turn into NaN."""
    plain = None in keys or len({type(key) for key in keys}) > 1
    return pd.Series([keys[i] for i in places], dtype=object if plain else None)


def pooled_axes(labels: pd.DataFrame, shown: Sequence[str], scales: Mapping[str, str]) -> dict[str, int]:
    """Axes of the sweep that vary within a cell, and their number of values. One that moves with the shown axes (a zip)
    is not pooled: it is constant within each cell."""
    others = [name for name in scales if name in labels.columns and name not in (*shown, *SEED_COLUMNS)]
    if not others:
        return {}
    groups = labels.groupby(list(shown), dropna=False) if shown else labels.groupby(np.zeros(len(labels)))
    within = groups[others].nunique(dropna=False)
    return {name: int(labels[name].nunique(dropna=False)) for name in others if (within[name] > 1).any()}


def pooled_text(labels: pd.DataFrame, shown: Sequence[str], axes: Iterable[str]) -> str:
    """`runs at the same width and train_size also differ in depth (2 values)`: the axes of the sweep that a statistic
    over the seeds of each cell would pool, in words; "" if there are none."""
    pooled = pooled_axes(labels, shown, dict.fromkeys(axes, ""))
    if not pooled:
        return ""
    differ = "differ in " + ", ".join(f"{name} ({n} values)" for name, n in pooled.items())
    *names, last = shown or [""]
    same = f"{', '.join(names)} and {last}" if names else last
    return f"runs at the same {same} also {differ}" if shown else f"runs {differ}"
