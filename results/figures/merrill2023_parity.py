"""Merrill et al. 2023, sparse parity: accuracy, norms of single neurons, and the size of the subnetwork over steps.

Neurons are told apart by their incoming weights at the end: the subnetwork's in colour, the others in grey, as the
lines of the 10th, 50th and 90th percentile of their norms, of the first seed. The subnetwork is the least number of
neurons, those of the largest norms, that alone have the training accuracy of the whole network. That says little before
the network fits its train set, so it is drawn faintly up to there.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from results.figures.curves import line_key, numbers, phases_text, run_text, runs_of
from results.figures.sheet import TRAIN, VAL, about, accuracy_axis, labels_of, log_steps, sheet
from results.palette import FAINT, INK
from results.sweep import Sweep

PANELS = ("accuracy", "norms of neurons", "neurons of the subnetwork")
MOST = 12
"""Neurons drawn one by one."""


def draw(sweep: Sweep, title: str) -> Figure:
    """Raises ValueError for a sweep that did not measure neuron norms and the subnetwork."""
    labels = labels_of(sweep)
    norms = sweep.measures(name="neuron_norms", include_running=False)
    sizes = sweep.measures(name="subnetwork_size", include_running=False)
    if norms.empty or sizes.empty:
        raise ValueError("the figure needs `measures: {names: [neuron_norms, subnetwork_size]}` in the spec")
    first = labels.sort_values("seed").iloc[0]
    key = [
        line_key("training", TRAIN),
        line_key("validation", VAL),
        line_key(f"neurons of the subnetwork, {run_text(sweep, labels, first)} (up to {MOST})", VAL),
        line_key("other neurons: 10th, 50th, 90th percentile", FAINT),
    ]
    figure, panels = sheet(
        title=title,
        subtitle=about(sweep, labels, phases_text(labels)),
        panels=PANELS,
        size=(2.4, 2.1),
        own_axes=True,
        key=key,
    )
    for _, trace in runs_of(sweep, labels, ("train_accuracy", "val_accuracy")):
        for name, color in (("train_accuracy", TRAIN), ("val_accuracy", VAL)):
            panels[0].plot(trace["step"].clip(lower=0.8), numbers(trace[name]), color=color, lw=0.9, alpha=0.8)
    accuracy_axis(panels[0], float(labels["chance_accuracy"].iloc[0]))
    ends = sizes[sizes["run_id"] == first["run_id"]].sort_values("step")
    _draw_norms(panels[1], norms[norms["run_id"] == first["run_id"]], int(ends["value"].iloc[-1]))
    fitted = dict(zip(labels["run_id"], labels["t_train"].astype(float).fillna(np.inf), strict=True))
    for run_id, part in sizes.groupby("run_id"):
        part = part.sort_values("step")
        width = 1.6 if run_id == first["run_id"] else 0.8
        late = part[part["step"] >= fitted[run_id]]
        panels[2].plot(part["step"].clip(lower=0.8), part["value"], color=FAINT, lw=0.5)
        panels[2].plot(late["step"], late["value"], color=INK, lw=width)
    panels[2].set_yscale("log")
    for panel in panels:
        log_steps(panel, float(labels["steps"].max()))
        panel.set_xlabel("step")
    return figure


def _draw_norms(axes: Axes, norms: pd.DataFrame, n_chosen: int) -> None:
    table = norms.pivot_table(index="step", columns="index", values="value").sort_index()
    order = table.iloc[-1].sort_values(ascending=False).index
    chosen, rest = order[: min(n_chosen, MOST)], order[n_chosen:]
    steps = np.maximum(table.index.to_numpy(dtype=float), 0.8)
    if len(rest):
        low, middle, high = np.quantile(table[rest].to_numpy(), (0.1, 0.5, 0.9), axis=1)
        axes.fill_between(steps, low, high, color=FAINT, alpha=0.35, lw=0)
        axes.plot(steps, middle, color=FAINT, lw=1.4)
    for neuron in chosen:
        axes.plot(steps, table[neuron], color=VAL, lw=1.0)
    axes.set_ylim(bottom=0)
