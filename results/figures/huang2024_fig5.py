"""Huang et al. 2024, figure 5: training accuracy over steps of networks too small for their train set, by seed.

Beside it validation, which the paper leaves to its figure 2: a bump in training accuracy is progression only if
validation rises with it. A sweep over more than seeds has a row for each setting.
"""

from matplotlib.figure import Figure

from results.axes import distinct
from results.figures.curves import axes_of, cells, in_words, line_key, numbers, ordered_colors, runs_of, titles_of
from results.figures.sheet import about, accuracy_axis, edges, labels_of, linear_steps, sheet
from results.sweep import Sweep

METRICS = ("train_accuracy", "val_accuracy")
SIZE = (3.1, 2.2)


def draw(sweep: Sweep, title: str) -> Figure:
    labels = labels_of(sweep)
    axes = axes_of(sweep, labels)
    rows = cells(labels, axes) if axes else [({}, labels)]
    seeds = distinct(labels["seed"])[1]
    colors = dict(zip(seeds, ordered_colors(len(seeds)), strict=True))
    if axes:
        settings, parts = zip(*rows, strict=True)
        names, n_lines = titles_of([f"training, {in_words(cell)}" for cell in settings], parts, SIZE[0])
        key = [line_key(f"seed {seed}", color) for seed, color in colors.items()]
    else:
        names, n_lines = ["training"], 1
        phases = labels.groupby("seed")["phase"].agg(lambda column: ", ".join(sorted(set(column))))
        key = [line_key(f"seed {seed}: {phases[seed]}", color) for seed, color in colors.items()]
    figure, panels = sheet(
        title=title,
        subtitle=about(sweep, labels),
        panels=[head for name in names for head in (name, "validation")],
        columns=len(METRICS),
        size=SIZE,
        title_lines=n_lines,
        key=key,
    )
    for i, (_, part) in enumerate(rows):
        beside = panels[2 * i : 2 * i + 2]
        for row, trace in runs_of(sweep, part, METRICS):
            for panel, name in zip(beside, METRICS, strict=True):
                panel.plot(trace["step"], numbers(trace[name]), color=colors[row["seed"]], lw=1.1)
    for panel in panels:
        accuracy_axis(panel, float(labels["chance_accuracy"].iloc[0]))
        linear_steps(panel, float(labels["steps"].max()))
    edges(panels, len(METRICS), "step", "accuracy")
    return figure
