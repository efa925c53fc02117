"""Power et al. 2022, figure 1 (center): steps to generalize against the fraction of the table in training.

Every run is a dot at the first step with a validation accuracy of 99 %; a run that does not get there within the
budget stands as a triangle above the line of the budget: censored, not dropped. The line is the median, up to where
half of the runs are censored; the dashed one a fit of log time over the fraction in which censored runs take part.
Pale dots are the same for training accuracy.
"""

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from results.axes import distinct
from results.figures.curves import line_key, runs_of
from results.figures.sheet import TRAIN, VAL, about, edges, labels_of, note, sheet
from results.figures.times import censored_median, first_reach, fit_slope
from results.palette import GREY
from results.sweep import Sweep

LEVEL = 0.99
ABOVE = 1.35
"""Where censored runs stand, in budgets."""


def draw(sweep: Sweep, title: str) -> Figure:
    """Raises ValueError for a sweep that does not vary the train size, or more than that, tasks and seeds."""
    labels = labels_of(sweep, "train_size", cell=["task", "train_size"])
    times = _times(sweep, labels)
    tasks = distinct(times["task"])[1]
    columns = min(3, len(tasks))
    key = [
        line_key("validation: median", VAL),
        Line2D([], [], marker="o", ls="", ms=4, color=VAL, label="a run"),
        Line2D([], [], marker="^", ls="", ms=5, mfc="white", mec=VAL, label="not within the budget"),
        line_key("fit, censored runs included", VAL, "--"),
        Line2D([], [], marker="o", ls="", ms=4, color=TRAIN, alpha=0.5, label="training"),
    ]
    figure, panels = sheet(
        title=title,
        subtitle=about(sweep, labels, f"first step at {LEVEL:.0%} accuracy"),
        panels=[str(task) for task in tasks],
        columns=columns,
        size=(3.4, 2.5) if columns < 3 else (2.5, 2.0),
        key=key,
    )
    budget = float(labels["steps"].max())
    for panel, task in zip(panels, tasks, strict=True):
        _draw_task(panel, times[times["task"] == task], budget)
        panel.set_xlim(100 * times["fraction"].min() - 4, 100 * times["fraction"].max() + 4)
        panel.set_ylim(max(1.0, 0.6 * times["t_train"].min()), ABOVE * 1.5 * budget)
    edges(panels, columns, "training data, % of the table", "steps")
    return figure


def _times(sweep: Sweep, labels: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for row, trace in runs_of(sweep, labels, ("train_accuracy", "val_accuracy")):
        t_train, t_val = (first_reach(trace, f"{part}_accuracy", LEVEL) for part in ("train", "val"))
        rows.append({"task": row["task"], "fraction": row["train_fraction"], "t_train": t_train, "t_val": t_val})
    return pd.DataFrame(rows)


def _draw_task(axes: Axes, times: pd.DataFrame, budget: float) -> None:
    x, t_val = 100 * times["fraction"].to_numpy(), times["t_val"].to_numpy()
    seen = np.isfinite(t_val)
    axes.set_yscale("log")
    axes.axhline(budget, color=GREY, lw=0.8, ls=":")
    axes.plot(x, times["t_train"].where(np.isfinite(times["t_train"])), "o", ms=3, color=TRAIN, alpha=0.35, mew=0)
    axes.plot(x[seen], t_val[seen], "o", ms=3.5, color=VAL, alpha=0.7, mew=0)
    spread = _side_by_side(x[~seen], 0.9)
    axes.plot(spread, np.full(len(spread), ABOVE * budget), "^", ms=4.5, mfc="white", mec=VAL, mew=0.9)
    medians = times.groupby("fraction")["t_val"].agg(lambda column: censored_median(list(column)))
    known = medians[np.isfinite(medians)]
    axes.plot(100 * known.index.to_numpy(), known, color=VAL, lw=1.5)
    fit = fit_slope(x, t_val, budget)
    if fit is not None:
        at = np.linspace(x.min(), x.max(), 50)
        line = fit.time(at)
        shown = line <= budget
        axes.plot(at[shown], line[shown], "--", color=VAL, lw=1.0)
        factor, low, high = (math.exp(-fit.slope + k * fit.slope_se) for k in (0, -1.96, 1.96))
        note(axes, f"one % less data: time × {factor:.2f}\n(95 % {low:.2f} to {high:.2f})", x=0.03, y=0.42)
    if not seen.any():
        note(axes, f"none of {len(x)} runs generalizes\nwithin {budget:,.0f} steps", x=0.5, y=0.55, ha="center")


def _side_by_side(x: np.ndarray, step: float) -> np.ndarray:
    """Equal values moved apart, about their own place."""
    order = pd.Series(x).groupby(x).cumcount().to_numpy(dtype=float)
    counts = pd.Series(x).groupby(x).transform("count").to_numpy(dtype=float) if len(x) else order
    return x + (order - (counts - 1) / 2) * step
