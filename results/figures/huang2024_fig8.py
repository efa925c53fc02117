"""Huang et al. 2024, figures 8 and 10: validation accuracy of addition over the size of the network, beside random
labels.

As in the paper the line is the best of the seeds, to show what a network of that size can do; every run is a dot. A
line for each number of random labels (figure 8), or one with and one without the split of the feed-forward layers
(figure 10). Sizes are parameters, on a log axis. The key tells from which width the mean over seeds stays above half,
the middle between chance and 1.
"""

import math

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullFormatter

from results.axes import label_of
from results.critical.half_width import half_width
from results.figures.curves import apart, cells, line_key, numbers, ordered_colors, undecided_key
from results.figures.sheet import about, accuracy_axis, check_seeds_alone, labels_of, sheet
from results.sweep import Sweep

SIZE = (5.6, 3.0)
WORDS = {"split_mlp": ("one feed-forward layer for both", "a half of it for each task")}


def draw(sweep: Sweep, title: str) -> Figure:
    """Raises ValueError for a sweep that is no mixture, or of networks of one size."""
    labels = labels_of(sweep, "n_parameters")
    if set(labels["task_kind"]) != {"mixture"}:
        raise ValueError("the figure is about a mixture: a task with a rule beside random labels")
    by = "split_mlp" if "split_mlp" in labels and labels["split_mlp"].nunique() > 1 else "train_size"
    check_seeds_alone(sweep, labels, [by, "n_parameters"])
    parts = cells(labels, [by])
    colors = [color for color, _ in apart(len(parts))] if by in WORDS else ordered_colors(len(parts))
    names = [
        WORDS[by][bool(cell[by])] if by in WORDS else f"{label_of(int(cell[by]))} random labels" for cell, _ in parts
    ]
    key = [
        line_key(f"{name}: {_needed(part)}", color) for name, (_, part), color in zip(names, parts, colors, strict=True)
    ]
    subtitle = about(sweep, labels, "line: best seed")
    figure, (panel,) = sheet(
        title=title, subtitle=subtitle, panels=[""], size=SIZE, below=0.66, key=[*key, *undecided_key(labels)]
    )
    for (_, part), color in zip(parts, colors, strict=True):
        best = part.groupby("n_parameters")["final_val_accuracy"].max()
        panel.plot(best.index, best, color=color, lw=1.5)
        is_open = (part["phase"] == "undecided").to_numpy()
        for chosen, fill in ((~is_open, color), (is_open, "white")):
            run = part[chosen]
            panel.plot(
                run["n_parameters"], numbers(run["final_val_accuracy"]), "o", ms=3.5, mfc=fill, mec=color, alpha=0.7
            )
    accuracy_axis(panel, float(labels["chance_accuracy"].iloc[0]))
    _name_sizes(panel, labels)
    panel.set_ylabel("validation accuracy of addition")
    return figure


def _needed(part: pd.DataFrame) -> str:
    """`mean above half from width 14 (11 to 18)`, with the interval where there is one."""
    by_width = part["depth"].nunique() == 1
    needed = half_width(part, "width" if by_width else "n_parameters")
    if not math.isfinite(needed.value):
        return "mean below half to the end"
    if needed.value == part["width" if by_width else "n_parameters"].min():
        return "mean above half at every size"
    value, low, high = (_short(number) for number in (needed.value, needed.low, needed.high))
    interval = f" ({low} to {high})" if math.isfinite(needed.high) else ""
    place = f"width {value}{interval}" if by_width else f"{value} parameters{interval}"
    return f"mean above half from {place}"


def _name_sizes(panel: Axes, labels: pd.DataFrame) -> None:
    """A tick for each size: its parameters, and under them width and depth."""
    shapes = labels.drop_duplicates("n_parameters").sort_values("n_parameters")
    panel.set_xscale("log")
    places = numbers(shapes["n_parameters"])
    names = [f"{_short(n)}\n{w} x {d}" for n, w, d in zip(places, shapes["width"], shapes["depth"], strict=True)]
    panel.xaxis.set_major_locator(FixedLocator(list(places)))
    panel.set_xticks(places, names, size=7.5)
    panel.xaxis.set_minor_formatter(NullFormatter())
    panel.set_xticks([], minor=True)
    panel.set_xlabel("parameters (width x depth)")
    panel.set_xlim(places.min() / 1.3, places.max() * 1.3)


def _short(number: float) -> str:
    for unit, letter in ((1e6, "M"), (1e3, "k")):
        if number >= unit:
            return f"{number / unit:.3g}{letter}"
    return f"{number:.3g}"
