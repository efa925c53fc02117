"""Liu et al. 2022, figure 7 (left): the effective dimension of the embeddings over steps, with the accuracies.

The exponential of the entropy of the embeddings' principal components: about how many directions they fill. It rises
while the training set is fitted and falls as the network generalizes. Thin lines are runs, thick ones means over
seeds. A sweep that varies more than seeds has a colour for each of its cells; one with many of them has no means.
"""

import numpy as np
from matplotlib.figure import Figure

from results.figures.curves import cells, in_words, line_key, numbers, ordered_colors, phases_text, runs_of
from results.figures.sheet import TRAIN, VAL, about, accuracy_axis, labels_of, log_steps, sheet
from results.palette import FAINT, INK
from results.replicates import SEED_COLUMNS
from results.sweep import Sweep

MEASURE = "effective_dimension"
MOST_CELLS = 6


def draw(sweep: Sweep, title: str) -> Figure:
    """Raises ValueError for a sweep that did not measure the effective dimension."""
    labels = labels_of(sweep)
    measures = sweep.measures(name=MEASURE, include_running=False)
    if measures.empty:
        raise ValueError("the figure needs `measures: {names: [effective_dimension]}` in the spec")
    varied = [name for name in sweep.plan["axes"] if name not in SEED_COLUMNS]
    parts = cells(labels, varied) if varied else []
    several = 1 < len(parts) <= MOST_CELLS
    has_means = len(parts) <= MOST_CELLS
    remarks: list[str] = []
    if several:
        colors = ordered_colors(len(parts))
        key = [
            line_key(f"{in_words(cell)}: {phases_text(part)}", c) for (cell, part), c in zip(parts, colors, strict=True)
        ]
        key.append(line_key("training", FAINT))
    else:
        remarks = [phases_text(labels), *[f"{len(parts)} settings, a line a run"] * (not has_means)]
        parts, colors = [({}, labels)], [INK]
        key = [line_key("effective dimension", INK), line_key("training", TRAIN), line_key("validation", VAL)]
    figure, panels = sheet(
        title=title,
        subtitle=about(sweep, labels, *remarks),
        panels=["effective dimension of the embeddings", "accuracy"],
        size=(3.3, 2.2),
        own_axes=True,
        key=key,
    )
    for (_, part), color in zip(parts, colors, strict=True):
        measured = measures[measures["run_id"].isin(part["run_id"])]
        for _, run in measured.groupby("run_id"):
            panels[0].plot(run["step"].clip(lower=0.8), run["value"], color=color, lw=0.6, alpha=0.4)
        if has_means:
            mean = measured.groupby("step")["value"].mean()
            panels[0].plot(np.maximum(mean.index.to_numpy(dtype=float), 0.8), mean, color=color, lw=1.8)
        styles = {"train_accuracy": FAINT if several else TRAIN, "val_accuracy": color if several else VAL}
        for _, trace in runs_of(sweep, part, tuple(styles)):
            for name, own in styles.items():
                panels[1].plot(trace["step"].clip(lower=0.8), numbers(trace[name]), color=own, lw=0.7, alpha=0.6)
    accuracy_axis(panels[1], float(labels["chance_accuracy"].iloc[0]))
    for panel in panels:
        log_steps(panel, float(labels["steps"].max()))
        panel.set_xlabel("step")
    return figure
