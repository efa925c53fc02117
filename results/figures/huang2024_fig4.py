"""Huang et al. 2024, figure 4: how many random labels a network holds, over its width.

Counted as there: train on (nearly) all pairs and count those answered right, in pairs; a label that (a, b) and (b, a)
share counts twice. Only runs of the largest train set enter. A network that holds all of it is drawn as a bound.
"""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from results.axes import distinct, lay_out
from results.figures.curves import draw_mean, line_key, numbers
from results.figures.sheet import about, labels_of, note, sheet
from results.palette import GREY
from results.style import draw_ticks
from results.sweep import Sweep

SIZE = (5.2, 3.0)
MEMORY = "#B3261E"
ALL = 0.99


def draw(sweep: Sweep, title: str) -> Figure:
    """Raises ValueError for a sweep that does not vary the width, or is not one of random labels."""
    labels = labels_of(sweep, "width", cell=["width", "train_size"])
    if set(labels["task_kind"]) != {"random_labels"}:
        raise ValueError("the figure counts memorized random labels; this sweep's task has a rule")
    whole = labels[labels["train_size"] == labels["train_size"].max()]
    accuracy = numbers(whole["final_train_accuracy"])
    whole = whole.assign(memorized=np.round(accuracy * whole["train_size"]), phase="")
    n = int(whole["train_size"].iloc[0])
    key = [line_key("mean over seeds, 95 % interval", MEMORY)]
    if (accuracy >= ALL).any():
        key.append(Line2D([], [], color=GREY, ls=":", label="the whole train set: more would be held"))
    figure, (panel,) = sheet(title=title, subtitle=about(sweep, labels), panels=[""], size=SIZE, left=0.8, key=key)
    layout = lay_out("width", distinct(whole["width"])[1], "linear")
    draw_mean(panel, whole, layout, "memorized", color=MEMORY, limits=(0, n))
    panel.set_xlim(*layout.limits)
    panel.set_ylim(0, 1.06 * n)
    panel.axhline(n, color=GREY, lw=0.8, ls=":")
    note(panel, f"of {n:,} pairs", x=0.02, y=0.93)
    panel.set_ylabel("pairs answered right")
    draw_ticks(panel, layout, "x", SIZE[0], labelled=True)
    return figure
