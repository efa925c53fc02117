"""The sheet on which a paper's figure is drawn: a header, panels in rows and columns, a key below.

All lengths are inches. The header says what is shown, and under it how it came about: sweep, budget, seeds, and how
many of the planned runs have ended.
"""

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter

from results.cells import pooled_text
from results.counted import counted
from results.diagram import budget_text
from results.palette import GREY
from results.replicates import replicate_seeds
from results.style import (
    MARGIN_IN,
    TEXT_PT,
    axes_at,
    draw_header,
    header_height,
    new_figure,
    text_length,
)
from results.sweep import Sweep

TRAIN, VAL = "#C2571A", "#1644A3"
"""Training warm and validation cool, as memorizing and generalizing phases are."""

# Inches
PANEL = (3.1, 2.0)
LEFT = 0.66
BELOW = 0.44
TITLE = 0.27
TITLE_LINE = 0.17
APART = 0.28
NARROWEST = 6.4
KEY_LINE = 0.2
KEY_HANDLE = 0.5


def sheet(
    *,
    title: str,
    subtitle: str,
    panels: Sequence[str],
    columns: int | None = None,
    size: tuple[float, float] = PANEL,
    own_axes: bool = False,
    left: float = LEFT,
    right: float = 0.15,
    below: float = BELOW,
    title_lines: int = 1,
    key: Sequence[Artist] = (),
) -> tuple[Figure, list[Axes]]:
    """An empty sheet: the figure and its panels, row by row.

    Args:
        panels: their titles. columns: how many stand side by side; by default up to three.
        own_axes: every panel has labels of its own, instead of those at the left and lower edge alone.
        left, right, below: room beside and under the panels. title_lines: of each panel. key: handles with labels.
    """
    n_columns = columns or min(len(panels), 3 if len(panels) != 4 else 2)
    n_rows = math.ceil(len(panels) / n_columns)
    above = TITLE + (title_lines - 1) * TITLE_LINE
    across = size[0] + (left if own_axes else APART)
    down = size[1] + above + (below if own_axes else 0.06)
    width = left + (n_columns - 1) * across + size[0] + max(right, 0.1)
    width = max(width, NARROWEST)
    head = header_height(title, subtitle, width) + 0.04
    key_lines = _key_lines(key, width)
    height = head + (n_rows - 1) * down + above + size[1] + below + len(key_lines) * KEY_LINE + MARGIN_IN
    figure = new_figure(width, height)
    draw_header(figure, title, subtitle)
    axes = []
    for i, name in enumerate(panels):
        row, column = divmod(i, n_columns)
        panel = axes_at(figure, left + column * across, head + row * down + above, *size)
        panel.set_title(name, loc="left", pad=4)
        axes.append(panel)
    _draw_key(figure, key_lines, height - MARGIN_IN / 2 - len(key_lines) * KEY_LINE)
    return figure, axes


def edges(axes: Sequence[Axes], columns: int, x: str, y: str) -> None:
    """Name the axes at the left and lower edge of panels that share them, and drop the numbers elsewhere."""
    for i, panel in enumerate(axes):
        is_left, is_lowest = i % columns == 0, i + columns >= len(axes)
        panel.tick_params(labelleft=is_left, labelbottom=is_lowest)
        panel.tick_params(which="minor", labelleft=False, labelbottom=False)
        panel.set_ylabel(y if is_left else "")
        panel.set_xlabel(x if is_lowest else "")


def _key_lines(key: Sequence[Artist], width: float) -> list[list[Artist]]:
    """The handles, broken into lines that fit."""
    lines: list[list[Artist]] = []
    used = math.inf
    for handle in key:
        length = KEY_HANDLE + text_length(str(handle.get_label())) + 0.1
        if used + length > width - 2 * MARGIN_IN:
            lines.append([])
            used = 0.0
        lines[-1].append(handle)
        used += length
    return lines


def _draw_key(figure: Figure, lines: Sequence[Sequence[Artist]], top_in: float) -> None:
    width = float(figure.get_size_inches()[0])
    for i, line in enumerate(lines):
        axes = axes_at(figure, MARGIN_IN, top_in + i * KEY_LINE, width - 2 * MARGIN_IN, KEY_LINE)
        axes.set_axis_off()
        axes.legend(
            handles=list(line),
            loc="center left",
            ncols=len(line),
            borderpad=0,
            borderaxespad=0,
            labelcolor=GREY,
            columnspacing=1.3,
            handlelength=1.7,
            handletextpad=0.5,
        )


def about(sweep: Sweep, labels: pd.DataFrame, *remarks: str) -> str:
    """The line under the title: sweep, budget, seeds, and how many of the planned runs have ended."""
    n_seeds = len({*replicate_seeds(labels)})
    ended = [] if len(labels) == sweep.n_planned else [f"{len(labels):,} of {sweep.n_planned:,} runs ended"]
    parts = [str(sweep.plan["name"]), budget_text(labels, []), counted(n_seeds, "seed")]
    return " · ".join([*parts, *ended, *(remark for remark in remarks if remark)])


def labels_of(sweep: Sweep, *needed: str, cell: Sequence[str] | None = None) -> pd.DataFrame:
    """The sweep's labels. ValueError if there are none, or if a column in `needed` is missing or the same in all.

    Args:
        cell: what a figure over seeds draws apart. ValueError as of `check_seeds_alone`.
    """
    labels = sweep.labels()
    if labels.empty:
        raise ValueError(f"{sweep.store.root} has no labels yet; launch it, or if runs have ended: grokctl label DIR")
    for name in needed:
        if name not in labels.columns:
            raise ValueError(f"the figure needs a sweep over {name}; {sweep.plan['name']} has no such column")
        if labels[name].nunique(dropna=False) < 2:
            axes = ", ".join(sweep.plan["axes"]) or "none"
            raise ValueError(f"the figure is drawn over {name}, which all runs of this sweep share; its axes: {axes}")
    if cell is not None:
        check_seeds_alone(sweep, labels, cell)
    return labels


def check_seeds_alone(sweep: Sweep, labels: pd.DataFrame, cell: Sequence[str]) -> None:
    """ValueError if runs that are equal in these columns differ in more than seeds: a mean over them would be over
    settings as well, and its interval no interval over seeds."""
    shown = [name for name in cell if name in labels.columns]
    if pooled := pooled_text(labels, shown, sweep.plan["axes"]):
        raise ValueError(f"{pooled}, which the figure would take for seeds")


def log_steps(axes: Axes, last: float) -> None:
    """Steps on a log axis, step 0 at the left edge."""
    axes.set_xscale("log")
    axes.set_xlim(0.8, max(last, 2.0) * 1.03)
    powers = [10.0**k for k in range(int(math.log10(max(last, 2.0)) + 1e-9) + 1)]
    axes.xaxis.set_major_locator(FixedLocator(powers))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(FuncFormatter(_power))


def linear_steps(axes: Axes, last: float) -> None:
    """Steps on a linear axis, in thousands where that reads better."""
    axes.set_xlim(0, last)
    unit, suffix = (1000, "k") if last >= 5000 else (1, "")
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / unit:g}{suffix if value else ''}"))


def _power(value: float, _: Any) -> str:
    return f"{value:g}" if value < 1000 else f"$10^{{{round(math.log10(value))}}}$"


def accuracy_axis(axes: Axes, chance: float | None = None) -> None:
    """From 0 to 1, with a dotted line at chance."""
    axes.set_ylim(-0.03, 1.03)
    if chance is not None:
        axes.axhline(chance, color=GREY, lw=0.7, ls=":", zorder=1)


def note(axes: Axes, text: str, *, x: float = 0.02, y: float = 0.97, **style: Any) -> None:
    """Small text inside a panel."""
    usual: dict[str, Any] = {"transform": axes.transAxes, "va": "top", "size": TEXT_PT - 1, "color": GREY}
    axes.text(x, y, text, **{**usual, **style})
