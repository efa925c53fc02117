"""Nanda & Lieberum 2022, modular addition: the embedding's power over frequencies before and after grokking.

Above the share of the embedding's power at each frequency, in the row measured last before validation leaves chance
level behind, and at the end. Below what tells of the circuit: losses (all logits; restricted to the key frequencies;
without them), and the Gini coefficient of the spectrum, for all seeds of the run's setting. One run is shown, the
first that generalizes, else the first.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from results.figures.curves import Floats, line_key, numbers, replicates_of, run_text, runs_of
from results.figures.sheet import TRAIN, VAL, about, labels_of, log_steps, sheet
from results.palette import FAINT, GREY, INK
from results.sweep import Sweep

LOSSES = {"restricted_loss": "#2E8B57", "excluded_loss": "#83609F"}
HALF = 0.5
FLOOR = 1e-9


def draw(sweep: Sweep, title: str) -> Figure:
    """Raises ValueError for a sweep that did not measure `fourier`."""
    labels = labels_of(sweep)
    measures = sweep.measures(include_running=False)
    if not (measures["name"] == "embedding_power").any():
        raise ValueError("the figure needs `measures: {names: [fourier, fourier_losses]}` in the spec")
    order = (
        labels["phase"].isin(["grokking", "comprehension", "semi-grokking"]).sort_values(ascending=False, kind="stable")
    )
    shown = labels.loc[order.index].iloc[:1]
    ((row, trace),) = runs_of(sweep, shown, ("train_loss", "val_loss", "val_accuracy"))
    power = _power(measures[measures["run_id"] == row["run_id"]])
    before = _before(power.index.to_numpy(), trace)
    after = int(power.index[-1])
    others = [run for run in replicates_of(sweep, labels, row)["run_id"] if run != row["run_id"]]
    measured = set(measures.loc[measures["run_id"] == row["run_id"], "name"])
    key = [
        line_key("training loss", TRAIN),
        line_key("validation loss", VAL),
        *(line_key(name.replace("_", " "), color) for name, color in LOSSES.items() if name in measured),
        line_key("Gini coefficient: this run", INK),
        *[line_key("other seeds", FAINT)] * bool(others),
    ]
    figure, panels = sheet(
        title=title,
        subtitle=about(sweep, labels, f"shown: {run_text(sweep, labels, row)}, {row['phase']}"),
        panels=[f"power of the embedding, step {before:,}", f"step {after:,}", "loss, nats", "how few waves: Gini"],
        columns=2,
        size=(3.2, 1.8),
        own_axes=True,
        key=key,
    )
    share = power.div(power.sum(axis=1), axis=0)
    top = 1.08 * float(share.loc[[before, after]].to_numpy().max())
    for panel, step in zip(panels[:2], (before, after), strict=True):
        _draw_spectrum(panel, share.loc[[step]].iloc[0], top)
    _draw_losses(panels[2], trace, measures[measures["run_id"] == row["run_id"]])
    for run_id, color in [*((other, FAINT) for other in others), (row["run_id"], INK)]:
        gini = measures[(measures["run_id"] == run_id) & (measures["name"] == "embedding_gini")].sort_values("step")
        panels[3].plot(gini["step"].clip(lower=0.8), gini["value"], color=color, lw=1.2)
    panels[3].set_ylim(0, 1)
    for panel in panels[2:]:
        log_steps(panel, float(row["steps"]))
        panel.set_xlabel("step")
    return figure


def _power(measures: pd.DataFrame) -> pd.DataFrame:
    """A row a step, a column a frequency above 0."""
    rows = measures[(measures["name"] == "embedding_power") & (measures["index"] > 0)]
    return rows.pivot_table(index="step", columns="index", values="value").sort_index()


def _before(steps: Floats, trace: pd.DataFrame) -> int:
    """The last measured step before validation accuracy is half way from where it was at a tenth of the way in log
    time to its end; the first measured step if there is none."""
    accuracy = numbers(trace["val_accuracy"])
    rises = np.flatnonzero(accuracy >= HALF * accuracy[-1])
    at = float(trace["step"].iloc[rises[0]]) if len(rises) else float(steps[-1])
    earlier = steps[steps < at]
    return int(earlier[-1] if len(earlier) else steps[0])


def _draw_spectrum(axes: Axes, share: pd.Series, top: float) -> None:
    axes.bar(share.index.to_numpy(), share.to_numpy(), color=VAL, width=0.8)
    axes.axhline(1 / len(share), color=GREY, lw=0.8, ls=":")
    axes.set_ylim(0, top)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.set_xlabel("frequency")
    axes.set_ylabel("share of the power")


def _draw_losses(axes: Axes, trace: pd.DataFrame, measures: pd.DataFrame) -> None:
    axes.set_yscale("log")
    for name, color in (("train_loss", TRAIN), ("val_loss", VAL)):
        axes.plot(trace["step"].clip(lower=0.8), np.maximum(numbers(trace[name]), FLOOR), color=color, lw=1.1)
    for name, color in LOSSES.items():
        rows = measures[measures["name"] == name].sort_values("step")
        axes.plot(rows["step"].clip(lower=0.8), np.maximum(rows["value"], FLOOR), color=color, lw=1.3)
