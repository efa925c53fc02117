"""Huang et al. 2024, figure 2: training and validation accuracy over steps, a panel for each width and train size.

All seeds of a cell are drawn in its panel, and its title counts their phases. What else a sweep varies has panels
of its own.
"""

from matplotlib.figure import Figure

from results.figures.curves import cells_apart, in_words, line_key, numbers, runs_of, titles_of
from results.figures.sheet import TRAIN, VAL, about, accuracy_axis, edges, labels_of, linear_steps, sheet
from results.sweep import Sweep

METRICS = {"train_accuracy": TRAIN, "val_accuracy": VAL}

SIZE = (2.6, 1.7)


def draw(sweep: Sweep, title: str) -> Figure:
    """Of any sweep over one or both of width and train size."""
    labels = labels_of(sweep)
    parts = cells_apart(sweep, labels, ["width", "train_size"])
    columns = min(3, len(parts))
    names, n_lines = titles_of([in_words(cell) for cell, _ in parts], [part for _, part in parts], SIZE[0])
    key = [line_key("training", TRAIN), line_key("validation", VAL)]
    figure, panels = sheet(
        title=title,
        subtitle=about(sweep, labels),
        panels=names,
        columns=columns,
        size=SIZE,
        title_lines=n_lines,
        key=key,
    )
    for panel, (_, part) in zip(panels, parts, strict=True):
        for _, trace in runs_of(sweep, part, tuple(METRICS)):
            for name, color in METRICS.items():
                panel.plot(trace["step"], numbers(trace[name]), color=color, lw=0.9, alpha=0.8)
        accuracy_axis(panel, float(part["chance_accuracy"].iloc[0]))
        linear_steps(panel, float(labels["steps"].max()))
    edges(panels, columns, "step", "accuracy")
    return figure
