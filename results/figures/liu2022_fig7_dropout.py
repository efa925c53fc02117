"""Liu et al. 2022, figure 7 (center): validation accuracy over steps, by dropout.

Every run is a thin line, training dashed; the key says the median step at which validation gets to 90 %.
"""

import numpy as np
from matplotlib.figure import Figure

from results.axes import label_of
from results.figures.curves import cells, line_key, numbers, ordered_colors, runs_of
from results.figures.sheet import about, accuracy_axis, labels_of, log_steps, sheet
from results.figures.times import censored_median, first_reach
from results.sweep import Sweep

LEVEL = 0.9
STYLES = {"val_accuracy": "-", "train_accuracy": ":"}


def draw(sweep: Sweep, title: str) -> Figure:
    """Raises ValueError for a sweep that does not vary dropout, or more than that and seeds."""
    labels = labels_of(sweep, "dropout", cell=["dropout"])
    parts = cells(labels, ["dropout"])
    colors = ordered_colors(len(parts))
    traces = [[trace for _, trace in runs_of(sweep, part, tuple(STYLES))] for _, part in parts]
    key = []
    for (cell, _), found, color in zip(parts, traces, colors, strict=True):
        median = censored_median([first_reach(trace, "val_accuracy", LEVEL) for trace in found])
        when = f"step {median:,.0f}" if np.isfinite(median) else "not within the budget"
        key.append(line_key(f"dropout {label_of(float(cell['dropout']))}: {when}", color))
    subtitle = about(sweep, labels, "dotted: training; steps: median to 90 % validation accuracy")
    figure, (panel,) = sheet(title=title, subtitle=subtitle, panels=[""], size=(5.4, 2.8), key=key)
    for found, color in zip(traces, colors, strict=True):
        for trace in found:
            for name, style in STYLES.items():
                panel.plot(trace["step"].clip(lower=0.8), numbers(trace[name]), style, color=color, lw=1.1, alpha=0.85)
    accuracy_axis(panel, float(labels["chance_accuracy"].iloc[0]))
    log_steps(panel, float(labels["steps"].max()))
    panel.set_xlabel("step")
    panel.set_ylabel("accuracy")
    return figure
