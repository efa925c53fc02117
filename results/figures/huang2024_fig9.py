"""Huang et al. 2024, figure 9: the norm of the parameters over steps, a panel for each width and train size, by seed.

Where validation accuracy passes a half, the curve carries a dot: the paper's point is that the norm grows through that
moment in progression, and falls through it in grokking. Under each panel of norms stands one of validation accuracy.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from results.axes import distinct
from results.figures.curves import cells_apart, in_words, line_key, numbers, ordered_colors, runs_of, titles_of
from results.figures.sheet import about, accuracy_axis, edges, labels_of, linear_steps, sheet
from results.palette import GREY
from results.sweep import Sweep

HALF = 0.5

SIZE = (2.6, 1.6)


def draw(sweep: Sweep, title: str) -> Figure:
    labels = labels_of(sweep)
    parts = cells_apart(sweep, labels, ["width", "train_size"])
    n = len(parts)
    seeds = distinct(labels["seed"])[1]
    colors = dict(zip(seeds, ordered_colors(len(seeds)), strict=True))
    names, n_lines = titles_of([in_words(cell) for cell, _ in parts], [part for _, part in parts], SIZE[0])
    key = [line_key(f"seed {seed}", color) for seed, color in colors.items()]
    key.append(Line2D([], [], marker="o", ls="", color=GREY, ms=4, label="validation accuracy passes .5"))
    figure, panels = sheet(
        title=title,
        subtitle=about(sweep, labels),
        panels=[*names, *[""] * n],
        columns=n,
        size=SIZE,
        title_lines=n_lines,
        key=key,
    )
    for i, (_, part) in enumerate(parts):
        upper, lower = panels[i], panels[n + i]
        for row, trace in runs_of(sweep, part, ("param_norm", "val_accuracy")):
            step, norm, accuracy = (numbers(trace[name]) for name in ("step", "param_norm", "val_accuracy"))
            upper.plot(step, norm, color=colors[row["seed"]], lw=1.2)
            lower.plot(step, accuracy, color=colors[row["seed"]], lw=1.2)
            passed = np.flatnonzero(accuracy >= HALF)
            if len(passed):
                upper.plot(step[passed[0]], norm[passed[0]], "o", color=colors[row["seed"]], ms=4)
        accuracy_axis(lower, float(part["chance_accuracy"].iloc[0]))
        for panel in (upper, lower):
            linear_steps(panel, float(labels["steps"].max()))
    _share_height(panels[:n])
    edges(panels, n, "step", "validation accuracy")
    panels[0].set_ylabel("parameter norm")
    return figure


def _share_height(panels: Sequence[Axes]) -> None:
    """Norms of all cells on one scale, from 0."""
    top = max(panel.get_ylim()[1] for panel in panels)
    for panel in panels:
        panel.set_ylim(0, top)
