"""Where the values of an axis lie on paper.

Every value owns an interval in drawing coordinates: the value itself on a linear axis, its log10 on a log axis, its
rank on a categorical one. Intervals end half way between neighbours (the geometric mean on a log axis), so
irregular spacings are drawn as they are. What has no place on the scale stands apart, behind a gap: 0 on a log axis
to the left, null to the right.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.ticker import MaxNLocator

Floats = npt.NDArray[np.float64]

SCALES = ("linear", "log", "category")
GAP = 0.4  # between the scale and what stands apart, in cells
LONGEST_LABEL = 28  # characters; longer categories are cut on the picture only
LONGEST_NUMBER = 6  # printed characters of the numbers that are written as they are


@dataclass(frozen=True, kw_only=True)
class AxisLayout:
    """The distinct values of one axis in drawing order, each with its interval and its own place in it."""

    name: str
    scale: str
    values: tuple[Any, ...]
    """Distinct values; null is None."""
    positions: Floats
    """The coordinate of each value: on an irregular axis not the middle of its interval."""
    lows: Floats
    highs: Floats

    @property
    def limits(self) -> tuple[float, float]:
        return float(self.lows[0]), float(self.highs[-1])


def check_column(frame: pd.DataFrame, name: str, axes: Sequence[str] = ()) -> None:
    """ValueError with the nearest names, and with the `axes` of the sweep if they are known, if `frame` lacks
    `name`."""
    if name in frame.columns:
        return
    names = [str(column) for column in frame.columns]
    close = get_close_matches(name, names, n=3)
    hint = f" Did you mean {' or '.join(close)}?" if close else ""
    offered = f" Axes of this sweep: {', '.join(axes)}." if axes else f" Columns: {', '.join(names)}."
    raise ValueError(f"no column {name!r} in these labels.{hint}{offered}")


def distinct(column: pd.Series) -> tuple[npt.NDArray[np.intp], list[Any]]:
    """For each row the index of its value, and the sorted distinct values (null and NaN are None, and last).

    Floats that agree in 12 digits are one value: grids are written with no more.
    """
    codes, uniques = pd.factorize(column)
    names = [_plain(value) for value in uniques]
    keys: list[Any] = sorted(set(names), key=lambda value: (0, value, "") if _is_number(value) else (1, 0, str(value)))
    place = {key: i for i, key in enumerate(keys)}
    if (codes < 0).any():
        keys.append(None)
    return np.array([*(place[name] for name in names), len(keys) - 1], dtype=np.intp)[codes], keys


def _plain(value: Any) -> Any:
    """A Python scalar; floats without the noise of their last digits, whole ones as int."""
    if isinstance(value, np.generic):
        value = value.item()
    if not isinstance(value, float) or not math.isfinite(value):
        return value
    rounded = float(f"{value:.12g}")
    return int(rounded) if rounded.is_integer() and abs(rounded) < 2**53 else rounded


def scale_of(name: str, values: Sequence[Any], scales: Mapping[str, str]) -> str:
    """The scale the sweep states; otherwise what the values suggest: words are categories, values that lie more
    evenly by ratio than by difference are log."""
    stated = scales.get(name)
    if stated is not None:
        if stated not in SCALES:
            raise ValueError(f"scale of {name}: {stated!r} is none of {', '.join(SCALES)}")
        return stated
    known = [value for value in values if value is not None]
    if not all(_is_number(value) for value in known):
        return "category"
    numbers = np.array(sorted(known), dtype=float)
    if len(numbers) < 3 or numbers[0] <= 0:
        return "linear"
    return "log" if _unevenness(np.log(numbers)) < _unevenness(numbers) - 1e-9 else "linear"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool | np.bool_)


def _unevenness(numbers: Floats) -> float:
    steps = np.diff(numbers)
    return float(steps.std() / steps.mean())


def lay_out(name: str, values: Sequence[Any], scale: str) -> AxisLayout:
    """Give each of the distinct, sorted `values` its interval. ValueError for values that the scale cannot hold."""
    known = [value for value in values if value is not None]
    if scale == "category":
        regular, zero = known, []
    else:
        if bad := [value for value in known if not _is_number(value) or not math.isfinite(value)]:
            raise ValueError(f"axis {name} is {scale}, but has the value {bad[0]!r}")
        if scale == "log" and min(known, default=1) < 0:
            raise ValueError(f"axis {name} is log, but has the value {min(known)!r}")
        zero = [value for value in known if scale == "log" and value == 0]
        regular = [value for value in known if value not in zero]
    return _with_margins(name, scale, regular, zero, [None] if None in values else [])


def _with_margins(name: str, scale: str, regular: list[Any], left: list[Any], right: list[Any]) -> AxisLayout:
    places = coordinates(regular, scale) if regular else np.zeros(0)
    edges = cell_edges(places) if regular else np.zeros(1)
    cell = float(np.median(np.diff(edges))) if regular else 1.0
    gap = GAP * cell if regular else 0.0
    lows, highs = list(edges[:-1]), list(edges[1:])
    positions = list(places)
    if left:
        lows.insert(0, edges[0] - gap - cell)
        highs.insert(0, edges[0] - gap)
        positions.insert(0, edges[0] - gap - cell / 2)
    if right:
        lows.append(edges[-1] + gap)
        highs.append(edges[-1] + gap + cell)
        positions.append(edges[-1] + gap + cell / 2)
    arrays = {"positions": np.array(positions), "lows": np.array(lows), "highs": np.array(highs)}
    return AxisLayout(name=name, scale=scale, values=(*left, *regular, *right), **arrays)


def coordinates(values: Sequence[Any], scale: str) -> Floats:
    """Drawing coordinates of values that the scale can hold."""
    if scale == "category":
        return np.arange(len(values), dtype=float)
    numbers = np.asarray(values, dtype=float)
    return np.log10(numbers) if scale == "log" else numbers


def cell_edges(places: Floats) -> Floats:
    """Edges of the cells around sorted `places`: midpoints, and at both ends as far out as the neighbour is near."""
    if len(places) == 1:
        return np.array([places[0] - 0.5, places[0] + 0.5])
    middles = (places[1:] + places[:-1]) / 2
    return np.concatenate([[2 * places[0] - middles[0]], middles, [2 * places[-1] - middles[-1]]])


def label_of(value: Any) -> str:
    """A value as it is written at a tick."""
    if value is None:
        return "none"
    if not _is_number(value):
        text = str(value).replace("$", r"\$")
        return text if len(text) <= LONGEST_LABEL else text[: LONGEST_LABEL - 1] + "…"
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:.4g}" if abs(value) < 1e4 else f"{value:.6g}"
    mantissa, exponent = f"{value:.2g}".split("e") if "e" in f"{value:.2g}" else f"{value:.1e}".split("e")
    power = rf"10^{{{int(exponent)}}}"
    return f"${power}$" if float(mantissa) == 1 else rf"${float(mantissa):g}\times{power}$"


def ticks(layout: AxisLayout, length_in: float, *, size_in: float, per_character: bool) -> tuple[Floats, list[str]]:
    """Positions and labels of the ticks that fit on `length_in` inches without touching.

    Ticks are values of the axis. Where those are awkward to read (0.000158), a linear or log axis is labelled at round
    numbers instead, which need not be values. `size_in` is the room of one label along the axis: in all, or per
    character if `per_character`.
    """
    labels = [label_of(value) for value in layout.values]
    positions = layout.positions
    if layout.scale != "category" and max(map(printed_length, labels)) > LONGEST_NUMBER:
        round_positions, round_labels = _round_ticks(layout)
        if len(round_positions) >= 2:
            apart = [i for i in range(len(labels)) if not _is_on_scale(layout.values[i], layout.scale)]
            positions = np.concatenate([positions[apart], round_positions])
            labels = [labels[i] for i in apart] + round_labels
    low, high = layout.limits
    sizes = np.array([size_in * (printed_length(label) if per_character else 1) for label in labels])
    kept = _without_overlap(positions * length_in / (high - low), sizes)
    return positions[kept], [labels[i] for i in kept]


def _is_on_scale(value: Any, scale: str) -> bool:
    return value is not None and not (scale == "log" and value == 0)


def _round_ticks(layout: AxisLayout) -> tuple[Floats, list[str]]:
    """Powers of ten on a log axis (with their 2 and 5 fold if it spans less than two), round numbers on a linear
    one."""
    numbers = [value for value in layout.values if _is_on_scale(value, layout.scale)]
    first, last = min(numbers, default=1), max(numbers, default=1)
    if layout.scale == "linear":
        round_values = [value for value in MaxNLocator(6).tick_values(first, last) if first <= value <= last]
        return np.array(round_values), [label_of(_plain(value)) for value in round_values]
    exponents = range(math.floor(math.log10(first)), math.floor(math.log10(last) + 1e-9) + 1)
    powers = [k for k in exponents if k >= math.log10(first) - 1e-9]
    if len(powers) >= 2:
        return np.array(powers, dtype=float), [f"$10^{{{k}}}$" for k in powers]
    folds = [float(f"{fold}e{k}") for k in exponents for fold in (1, 2, 5)]
    within = [value for value in folds if first <= value <= last]
    return np.log10(within), [label_of(value) for value in within]


def printed_length(label: str) -> int:
    """Characters of a label on paper, a space after it included."""
    plain = label.replace("$", "").replace(r"\times", "x").replace("^", "").replace("{", "").replace("}", "")
    return len(plain) + 1


def _without_overlap(places: Floats, sizes: Floats) -> list[int]:
    """Indices of the labels to keep: every k-th where they lie evenly, otherwise both ends and what fits between."""
    order = np.argsort(places, kind="stable")
    if len(order) < 3:
        return [int(i) for i in order]
    gaps = np.diff(places[order])
    if np.allclose(gaps, gaps[0], rtol=1e-6):
        return [int(i) for i in order[:: max(1, math.ceil(float(sizes.max()) / float(gaps[0])))]]
    kept = [int(order[0]), int(order[-1])]
    for i in order[1:-1]:
        if all(abs(places[i] - places[j]) >= (sizes[i] + sizes[j]) / 2 for j in kept):
            kept.append(int(i))
    return sorted(kept, key=lambda i: float(places[i]))
