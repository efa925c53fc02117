"""The legend of the phases: swatch, name and counts in aligned columns, and the marks that need a word."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle

from results.palette import FAINT, GREY, INK, PHASE_COLORS, PHASE_HATCHES, PHASE_ORDER, tint
from results.style import TEXT_PT, axes_at

# Inches
LINE = 0.205
SWATCH = 0.15
COLUMN = 2.25
CELLS_AT, RUNS_AT = 1.62, 2.1


@dataclass(frozen=True)
class Note:
    """A mark of the picture (`partial`, `tie` or `blank`) and what it means."""

    mark: str
    text: str


def legend_size(runs: Mapping[str, int], notes: Sequence[Note], n_columns: int) -> tuple[float, float]:
    """Width and height in inches."""
    n_lines = _lines_per_column(len(runs), len(notes), n_columns)
    return n_columns * COLUMN + 0.2, n_lines * LINE


def _lines_per_column(n_phases: int, n_notes: int, n_columns: int) -> int:
    return 1 + math.ceil((n_phases + n_notes) / n_columns)


def draw_legend(
    figure: Figure,
    left: float,
    top: float,
    cells: Mapping[str, int],
    runs: Mapping[str, int],
    notes: Sequence[Note],
    n_columns: int,
) -> None:
    """Draw at `left`, `top` (inches from the upper left): every phase that any run shows, with the cells where it is
    the majority and its runs, then the notes."""
    width, height = legend_size(runs, notes, n_columns)
    axes = axes_at(figure, left, top, width, height)
    axes.set_axis_off()
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    per_column = _lines_per_column(len(runs), len(notes), n_columns) - 1
    entries: list[str | Note] = [*(phase for phase in PHASE_ORDER if phase in runs), *notes]
    for i, entry in enumerate(entries):
        column, line = divmod(i, per_column)
        x, y = column * COLUMN, (line + 1.5) * LINE
        if line == 0 and isinstance(entry, str):
            _draw_heading(axes, x)
        if isinstance(entry, str):
            _draw_phase(axes, x, y, entry, cells.get(entry, 0), runs[entry])
        else:
            _draw_note(axes, x, y, entry)


def _draw_heading(axes: Axes, x: float) -> None:
    style: dict[str, Any] = {"size": TEXT_PT - 1, "color": GREY, "va": "center"}
    axes.text(x + SWATCH + 0.1, LINE / 2, "phase", **style)
    axes.text(x + CELLS_AT, LINE / 2, "cells", ha="right", **style)
    axes.text(x + RUNS_AT, LINE / 2, "runs", ha="right", **style)


def _draw_phase(axes: Axes, x: float, y: float, phase: str, n_cells: int, n_runs: int) -> None:
    box: dict[str, Any] = {"xy": (x, y - SWATCH / 2), "width": SWATCH, "height": SWATCH}
    axes.add_patch(Rectangle(**box, facecolor=PHASE_COLORS[phase], edgecolor="none"))
    if phase in PHASE_HATCHES:
        axes.add_patch(Rectangle(**box, fill=False, edgecolor=FAINT, linewidth=0, hatch=PHASE_HATCHES[phase]))
    axes.text(x + SWATCH + 0.1, y, phase, va="center")
    axes.text(x + CELLS_AT, y, f"{n_cells:,}", va="center", ha="right")
    axes.text(x + RUNS_AT, y, f"{n_runs:,}", va="center", ha="right")


def _draw_note(axes: Axes, x: float, y: float, note: Note) -> None:
    low = y - SWATCH / 2
    if note.mark == "blank":
        axes.add_patch(Rectangle((x, low), SWATCH, SWATCH, facecolor="white", edgecolor=FAINT, linewidth=0.6))
    else:
        side = SWATCH * (0.75 if note.mark == "partial" else 1)
        inset = (SWATCH - side) / 2
        axes.add_patch(Rectangle((x, low), SWATCH, SWATCH, facecolor=tint(FAINT, 0.3), edgecolor="none"))
        axes.add_patch(Rectangle((x + inset, low + inset), side, side, facecolor=FAINT, edgecolor="none"))
    if note.mark == "tie":
        right = x + SWATCH
        corner = [(right - 0.08, low), (right, low), (right, low + 0.08)]
        axes.add_patch(Polygon(corner, facecolor=INK, edgecolor="white", linewidth=0.5))
    axes.text(x + SWATCH + 0.1, y, note.text, va="center", size=TEXT_PT - 1, color=GREY)
