"""The phase diagram: which phase the runs of each cell show, over any two axes of a sweep.

A cell is coloured by the phase of most of its runs. How far they agree is the filled share of the cell's area: a
cell whose seeds all agree is full, one where 6 of 11 do is filled to 6/11 over a pale ground. A tie goes to the
phase that comes first in the documented order, and the corner of the cell shows the other one. Cells without a run
stay blank; `undecided` is hatched grey. The budget stands on every diagram, because a shorter one changes labels.

All lengths are inches, laid out by hand: which tick labels fit depends on the size of the panel, and a layout
engine knows that size only after the labels are there.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from results.axes import AxisLayout, Floats, check_column, distinct, label_of, lay_out, scale_of
from results.cells import diagram_table, pooled_axes
from results.counted import counted
from results.legend import Note, draw_legend, legend_size
from results.palette import FAINT, PHASE_COLORS, PHASE_HATCHES, tint
from results.replicates import SEED_COLUMNS, with_replicate_seeds
from results.style import (
    TEXT_PT,
    axes_at,
    bottom_margin,
    draw_header,
    draw_ticks,
    header_height,
    house_style,
    left_margin,
    new_figure,
    save,
    text_length,
)

__all__ = ["diagram_table", "phase_diagram", "save"]

PALE = 0.3
"""Strength of the ground on which a cell that disagrees is filled."""

# Inches
CELL = (0.36, 0.30)
PANEL_MIN = (1.7, 0.5)
PANEL_MAX = (5.4, 4.4)
FACET_MAX = {1: (5.4, 3.0), 2: (3.9, 3.0), 3: (2.5, 2.2)}
"""By the number of columns."""
FEW_ROWS = 1.8
"""Up to this height rows are drawn half again as high."""
SPARSE_SIDE = 0.11
FIGURE_MIN = 6.4
PAD = 0.12
FACET_TITLE = 0.27


def phase_diagram(
    labels: pd.DataFrame,
    *,
    x: str,
    y: str | None = None,
    facet: str | None = None,
    scales: Mapping[str, str] | None = None,
    budget_steps: int | None = None,
    title: str = "",
    subtitle: str | None = None,
    remark: str = "",
) -> Figure:
    """Draw `labels` (a row per run: `phase` and the config columns) as a heat map of phases.

    Args:
        x, y, facet: columns of `labels`; without `y` the diagram is one row, each value of `facet` has a panel of
            its own.
        scales: the sweep's axes and how each is spaced: linear, log or category. An axis that is missing here gets the
            scale its values suggest. Axes named here but not shown are pooled, and the subtitle says so.
        budget_steps: training steps of every run, written on the picture; by default read from the column `steps`.
        title: usually the name of the sweep.
        subtitle: replaces the line that states budget, seeds and pooled axes.
        remark: added to that line: what else a reader has to know of these labels.

    Raises ValueError for names that are no columns, values that their scale cannot hold, and an empty table.
    """
    scales = scales or {}
    if labels.empty:
        raise ValueError("no labels to draw")
    shown = [name for name in (x, y, facet) if name is not None]
    for name in shown:
        check_column(labels, name, axes=list(scales))
    sheet = _Sheet(
        table=diagram_table(labels, x, y, facet),
        x=_layout(labels, x, scales),
        y=_layout(labels, y, scales),
        facet=facet,
        facets=distinct(labels[facet])[1] if facet else [None],
    )
    if subtitle is None:
        subtitle = describe(labels, shown, scales, budget_steps)
    subtitle = " · ".join(part for part in (subtitle, remark) if part)
    with house_style():
        return _draw(sheet, title, subtitle, Counter(labels["phase"]))


def describe(
    labels: pd.DataFrame, shown: Sequence[str], scales: Mapping[str, str], budget_steps: int | None = None
) -> str:
    """The line under the title: the budget, how many seeds a cell holds, and what was pooled."""
    hidden = pooled_axes(labels, shown, scales)
    parts = [budget_text(labels, shown, budget_steps)]
    labels = with_replicate_seeds(labels)
    n_seeds = labels["seed"].nunique() if "seed" in labels.columns and not {*SEED_COLUMNS} & {*shown} else 0
    if n_seeds:
        parts.append(counted(n_seeds, "seed"))
    if n_seeds > 1 or hidden:
        parts.append("colour: majority of a cell's runs, filled area: their share")
    if hidden:
        parts.append("pooled over " + ", ".join(f"{name} ({n} values)" for name, n in hidden.items()))
    return " · ".join(parts)


def budget_text(labels: pd.DataFrame, shown: Sequence[str], budget_steps: int | None = None) -> str:
    """`budget 10,000 steps`, or the range where runs differ."""
    if "steps" in shown:
        return "budget: see axis"
    if budget_steps is not None:
        return f"budget {budget_steps:,} steps"
    if "steps" not in labels.columns:
        return "budget not stated"
    low, high = int(labels["steps"].min()), int(labels["steps"].max())
    return f"budget {low:,} steps" if low == high else f"budget {low:,} to {high:,} steps"


@dataclass(frozen=True, kw_only=True)
class _Sheet:
    """What is drawn, and where its panels lie."""

    table: pd.DataFrame
    x: AxisLayout
    y: AxisLayout
    facet: str | None
    facets: Sequence[Any]

    @property
    def n_columns(self) -> int:
        n = len(self.facets)
        return n if n <= 2 else 2 if n == 4 else 3

    @property
    def n_rows(self) -> int:
        return math.ceil(len(self.facets) / self.n_columns)

    @property
    def panel(self) -> tuple[float, float]:
        """Width and height of a panel; high enough for the name of the vertical axis beside it."""
        most = PANEL_MAX if self.facet is None else FACET_MAX[self.n_columns]
        width = _within(len(self.x.values) * CELL[0], PANEL_MIN[0], most[0])
        n = len(self.y.values)
        wished = max(n * CELL[1], min(1.5 * n * CELL[1], FEW_ROWS))
        return width, _within(wished, max(PANEL_MIN[1], text_length(self.y.name, TEXT_PT + 2)), most[1])

    @property
    def left(self) -> float:
        return left_margin(self.y, self.x, self.panel[0])

    @property
    def bottom(self) -> float:
        return bottom_margin(self.x, self.panel[0])

    @property
    def is_sparse(self) -> bool:
        """Whether values were sampled, so that there are no rows and columns to fill."""
        nx, ny = len(self.x.values), len(self.y.values)
        return min(nx, ny) > 12 and len(self.table) < 0.2 * nx * ny * len(self.facets)

    @property
    def half_side(self) -> tuple[float, float]:
        """Half a sparse cell in drawing coordinates."""
        spans = (layout.limits[1] - layout.limits[0] for layout in (self.x, self.y))
        x, y = (SPARSE_SIDE / 2 / length * span for length, span in zip(self.panel, spans, strict=True))
        return x, y

    @property
    def size(self) -> tuple[float, float]:
        """Of the panels with their margins."""
        width, height = self.panel
        title = FACET_TITLE if self.facet else 0.0
        return (
            self.left + self.n_columns * (width + PAD),
            self.n_rows * (height + title + PAD) - PAD / 2 + self.bottom,
        )

    def corner(self, i: int) -> tuple[float, float]:
        """Left and top of panel `i`, from the upper left of the sheet."""
        row, column = divmod(i, self.n_columns)
        width, height = self.panel
        title = FACET_TITLE if self.facet else 0.0
        return self.left + column * (width + PAD), row * (height + title + PAD) + title + PAD / 2


def _within(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


def _layout(labels: pd.DataFrame, name: str | None, scales: Mapping[str, str]) -> AxisLayout:
    if name is None:
        return lay_out("", [""], "category")
    values = distinct(labels[name])[1]
    return lay_out(name, values, scale_of(name, values, scales))


def _draw(sheet: _Sheet, title: str, subtitle: str, runs: Mapping[str, int]) -> Figure:
    cells = Counter(sheet.table["phase"])
    notes = _notes(sheet)
    body_width, body_height = sheet.size
    beside = legend_size(runs, notes, n_columns=1)
    is_beside = len(sheet.facets) == 1 and beside[1] <= body_height
    below = legend_size(runs, notes, n_columns=3)
    width = max(FIGURE_MIN, body_width + beside[0] if is_beside else max(body_width, below[0])) + PAD
    head = header_height(title, subtitle, width)
    height = head + body_height + (0 if is_beside else below[1] + PAD) + PAD
    figure = new_figure(width, height)
    draw_header(figure, title, subtitle)
    for i, value in enumerate(sheet.facets):
        left, top = sheet.corner(i)
        axes = axes_at(figure, left, head + top, *sheet.panel)
        _draw_panel(axes, sheet, i, value)
    if is_beside:
        draw_legend(figure, body_width + PAD, head, cells, runs, notes, n_columns=1)
    else:
        draw_legend(figure, PAD, head + body_height + PAD, cells, runs, notes, n_columns=3)
    return figure


def _notes(sheet: _Sheet) -> list[Note]:
    """What the picture shows beside the phases, and therefore has to explain."""
    table = sheet.table
    notes = []
    if (table["agreement"] < 1).any():
        notes.append(Note("partial", "filled in part: runs disagree"))
    if (table["tied"] != "").any():
        notes.append(Note("tie", "corner: a phase as frequent"))
    if not sheet.is_sparse and len(table) < len(sheet.x.values) * len(sheet.y.values) * len(sheet.facets):
        notes.append(Note("blank", "blank: no run"))
    return notes


def _draw_panel(axes: Axes, sheet: _Sheet, i: int, value: Any) -> None:
    table = sheet.table
    if sheet.facet is not None:
        column = table[sheet.facet]
        table = table[column.isna() if value is None else column == value]
        axes.set_title(f"{sheet.facet} = {label_of(value)}", loc="left", pad=4)
    dx, dy = sheet.half_side if sheet.is_sparse else (0.0, 0.0)
    axes.set_xlim(sheet.x.limits[0] - dx, sheet.x.limits[1] + dx)
    axes.set_ylim(sheet.y.limits[0] - dy, sheet.y.limits[1] + dy)
    is_lowest = i + sheet.n_columns >= len(sheet.facets)
    draw_ticks(axes, sheet.x, "x", sheet.panel[0], labelled=is_lowest)
    draw_ticks(axes, sheet.y, "y", sheet.panel[1], labelled=i % sheet.n_columns == 0)
    _draw_cells(axes, table, sheet)


def _draw_cells(axes: Axes, table: pd.DataFrame, sheet: _Sheet) -> None:
    """Ground, filling, hatch, corner of ties and fraction of every cell in `table`."""
    boxes = _boxes(table, sheet)
    inner = _shrink(boxes, np.sqrt(table["agreement"].to_numpy(dtype=float)))
    colors = [PHASE_COLORS[phase] for phase in table["phase"]]
    _add(axes, boxes, facecolors=[tint(color, PALE) for color in colors], edgecolors="none")
    _add(axes, inner, facecolors=colors, edgecolors="none")
    _add_hatches(axes, inner, list(table["phase"]))
    is_tied = (table["tied"] != "").to_numpy()
    others = [tied.split(", ")[0] for tied in table["tied"][is_tied]]
    corners = _corners(boxes[is_tied])
    _add(axes, corners, facecolors=[PHASE_COLORS[other] for other in others], edgecolors="white", linewidths=0.5)
    _add_hatches(axes, corners, others)
    line = 0.6 if max(len(sheet.x.values), len(sheet.y.values)) <= 20 else 0.25
    _add(axes, boxes, facecolors="none", edgecolors="white", linewidths=line)


def _boxes(table: pd.DataFrame, sheet: _Sheet) -> Floats:
    """(n, 4, 2): the corners of each cell, in drawing coordinates; in a sparse diagram small squares around the
    points."""
    xs, ys = _indices(table, sheet.x), _indices(table, sheet.y)
    if sheet.is_sparse:
        x, y = sheet.x.positions[xs], sheet.y.positions[ys]
        dx, dy = sheet.half_side
        return _rectangles(x - dx, x + dx, y - dy, y + dy)
    return _rectangles(sheet.x.lows[xs], sheet.x.highs[xs], sheet.y.lows[ys], sheet.y.highs[ys])


def _indices(table: pd.DataFrame, layout: AxisLayout) -> list[int]:
    if not layout.name:
        return [0] * len(table)
    place = {value: i for i, value in enumerate(layout.values)}
    return [place[None if value is None or value != value else value] for value in table[layout.name]]


def _rectangles(left: Floats, right: Floats, low: Floats, high: Floats) -> Floats:
    return np.stack(
        [np.stack(pair, axis=-1) for pair in ((left, low), (right, low), (right, high), (left, high))], axis=1
    )


def _shrink(boxes: Floats, factor: Floats) -> Floats:
    """Each box about its centre, its sides times `factor`."""
    centers = boxes.mean(axis=1, keepdims=True)
    shrunk: Floats = centers + (boxes - centers) * factor[:, None, None]
    return shrunk


def _corners(boxes: Floats) -> Floats:
    """(n, 3, 2): a triangle in the upper right of each box."""
    left, low = boxes[:, 0, :].T
    right, high = boxes[:, 2, :].T
    xs, ys = right - 0.45 * (right - left), high - 0.45 * (high - low)
    points = ((xs, high), (right, high), (right, ys))
    return np.stack([np.stack(point, axis=-1) for point in points], axis=1)


def _add_hatches(axes: Axes, polygons: Floats, phases: Sequence[str]) -> None:
    for hatched, hatch in PHASE_HATCHES.items():
        chosen = polygons[[phase == hatched for phase in phases]]
        _add(axes, chosen, facecolors="none", edgecolors=FAINT, linewidths=0, hatch=hatch)


def _add(axes: Axes, polygons: Floats, **style: Any) -> None:
    if len(polygons):
        axes.add_collection(PolyCollection(list(polygons), **style), autolim=False)
