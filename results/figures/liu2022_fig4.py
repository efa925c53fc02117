"""Liu et al. 2022, figure 4: when an embedding becomes linear.

(a) the effective theory: how often a random training set leaves one representation only, the linear one. (b) steps to
a representation quality (RQI) above .95 in training, censored runs as triangles. (c) an embedding under the effective
loss alone and (d) in training, both from the same start, brought to mean 0 and variance 1, the first seed of the
largest train set that is not all.
"""

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from results.figures.curves import numbers, ordered_colors
from results.figures.sheet import VAL, about, labels_of, log_steps, sheet
from results.figures.times import censored_median
from results.measures import random_training_sets, representation_quality
from results.measures.effective_theory import trajectory
from results.measures.parallelograms import normalized
from results.palette import GREY
from results.sweep import Sweep, TrainingSets

PANELS = (
    "(a) theory: one representation only",
    "(b) training: steps to RQI > .95",
    "(c) theory: an embedding over steps",
    "(d) training: the same",
)
LINEAR = 0.95
N_SETS = 300
ABOVE = 1.35


def draw(sweep: Sweep, title: str, training: TrainingSets) -> Figure:
    """Raises ValueError for a sweep that does not vary the train size of toy addition, or kept no embeddings."""
    labels = embeddings_of(sweep)
    p = int(labels["modulus"].iloc[0])
    n_pairs = p * (p + 1) // 2
    figure, panels = sheet(
        title=title, subtitle=about(sweep, labels), panels=PANELS, columns=2, size=(3.2, 2.0), own_axes=True
    )
    sizes = np.arange(max(2, p // 2), n_pairs)
    shares = [random_training_sets(p, int(size), N_SETS).unique.mean() for size in sizes]
    panels[0].plot(sizes / n_pairs, shares, color=VAL, lw=1.5)
    panels[0].set_ylabel("share of training sets")
    budget = float(labels["steps"].max())
    times = pd.DataFrame({"x": labels["train_fraction"], "t": [linear_at(sweep, run) for run in labels["run_id"]]})
    draw_times(panels[1], times, budget)
    for panel in panels[:2]:
        panel.set_xlim(0, 1)
        panel.set_xlabel("fraction of the pairs in training")
    shown = labels.sort_values(["train_size", "seed"], ascending=[False, True]).iloc[0]
    kept = sweep.snapshots(shown["run_id"])
    steps = np.array(sorted(kept), dtype=float)
    rate = float(shown["embedding_learning_rate"])
    theory = trajectory(kept[0], steps * rate, training(shown["run_id"]))
    practice = np.stack([normalized(kept[int(step)]) for step in steps])
    for panel, paths in ((panels[2], theory), (panels[3], practice)):
        for symbol, color in enumerate(ordered_colors(p)):
            panel.plot(np.maximum(steps, 0.8), paths[:, symbol, 0], color=color, lw=1.1)
        log_steps(panel, budget)
        panel.set_xlabel("step")
        panel.set_ylabel("embedding")
    panels[3].set_title(f"(d) training: the same, {int(shown['train_size'])} of {n_pairs} pairs", loc="left", pad=4)
    return figure


def embeddings_of(sweep: Sweep) -> pd.DataFrame:
    """Labels of a sweep of toy addition whose embeddings were kept, ascending in train size."""
    labels = labels_of(sweep, "train_size", cell=["train_size"])
    if set(labels["task_kind"]) != {"toy_addition"} or sweep.spec.get("snapshots") is None:
        raise ValueError("the figure needs toy_addition, with `snapshots: {what: embedding}` in the spec")
    return labels.sort_values(["train_size", "seed"])


def linear_at(sweep: Sweep, run_id: str) -> float:
    """First step kept with an RQI above .95; inf if there is none."""
    kept = sweep.snapshots(run_id)
    return next((float(step) for step in sorted(kept) if representation_quality(kept[step]) > LINEAR), math.inf)


def draw_times(axes: Axes, times: pd.DataFrame, budget: float, color: str = VAL, *, censored: bool = True) -> None:
    """Steps over x: runs as dots, those that did not get there as triangles if `censored`, and the median."""
    seen = np.isfinite(numbers(times["t"]))
    axes.set_yscale("log")
    axes.axhline(budget, color=GREY, lw=0.8, ls=":")
    axes.plot(times["x"][seen], times["t"][seen], "o", color=color, ms=3.5, alpha=0.6, mew=0)
    if censored:
        axes.plot(times["x"][~seen], np.full((~seen).sum(), ABOVE * budget), "^", mfc="white", mec=color, ms=4.5)
    median = times.groupby("x")["t"].agg(lambda column: censored_median(list(column)))
    known = median[np.isfinite(median)]
    axes.plot(known.index, known, color=color, lw=1.4)
    drawn = [time for line in axes.lines for time in np.asarray(line.get_ydata(), dtype=float) if np.isfinite(time)]
    axes.set_ylim(0.5 * min(drawn), 1.6 * max(drawn))
    axes.set_ylabel("steps")
