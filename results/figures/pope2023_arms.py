"""Pope 2023: training and validation loss of each training setup, in logarithmic scales as in the post's plots.

Each panel is a setup with all its seeds. Where validation accuracy gets there, the panel says between which steps it
went from 10 to 90 %: his point is that generalizing need not be sudden.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from results.axes import label_of
from results.figures.curves import axes_of, cells, line_key, numbers, runs_of, titles_of
from results.figures.sheet import TRAIN, VAL, about, edges, labels_of, log_steps, note, sheet
from results.figures.times import first_reach
from results.sweep import Sweep

METRICS = {"train_loss": TRAIN, "val_loss": VAL}
LOW, HIGH = 0.1, 0.9
FLOOR = 1e-9
"""Losses below are drawn here: float32 ends at nought."""

SIZE = (3.3, 1.9)


def draw(sweep: Sweep, title: str) -> Figure:
    labels = labels_of(sweep)
    axes = axes_of(sweep, labels)
    parts = cells(labels, axes or ["steps"])
    columns = min(2 if len(parts) <= 4 else 3, len(parts))
    key = [line_key("training", TRAIN), line_key("validation", VAL)]
    names, n_lines = titles_of([_setup(cell) for cell, _ in parts], [part for _, part in parts], SIZE[0])
    figure, panels = sheet(
        title=title,
        subtitle=about(sweep, labels),
        panels=names,
        columns=columns,
        size=SIZE,
        title_lines=n_lines,
        key=key,
    )
    lowest, highest = math.inf, 0.0
    for panel, (_, part) in zip(panels, parts, strict=True):
        widths = []
        for _, trace in runs_of(sweep, part, (*METRICS, "val_accuracy")):
            for name, color in METRICS.items():
                loss = np.maximum(numbers(trace[name]), FLOOR)
                panel.plot(trace["step"].clip(lower=0.8), loss, color=color, lw=0.9, alpha=0.85)
                known = loss[np.isfinite(loss)]
                lowest, highest = min(lowest, known.min(initial=1)), max(highest, known.max(initial=1))
            widths.append(_transition(trace))
        note(panel, "\n".join(widths), x=0.03, y=0.24, linespacing=1.25)
    for panel in panels:
        panel.set_yscale("log")
        panel.set_ylim(lowest / 2, highest * 2)
        log_steps(panel, float(labels["steps"].max()))
    edges(panels, columns, "step", "loss, nats")
    return figure


def _setup(cell: Mapping[str, Any]) -> str:
    """`full batch, learning rate 0.001, float64 loss`."""
    return ", ".join(_in_words(name, value) for name, value in cell.items())


def _in_words(name: str, value: Any) -> str:
    if name == "batch_size":
        return "full batch" if value is None or value != value else f"batch {value:g}"
    if name == "loss_dtype":
        return f"{value} loss"
    return f"{name.replace('_', ' ')} {label_of(value)}"


def _transition(trace: pd.DataFrame) -> str:
    low, high = (first_reach(trace, "val_accuracy", level) for level in (LOW, HIGH))
    if math.isinf(high):
        return f"validation ends at {numbers(trace['val_accuracy'])[-1]:.0%}"
    return f"10 to 90 %: steps {low:,.0f} to {high:,.0f}"
