"""Liu et al. 2022, figure 3: accuracy on the full table against the fraction of data, measured and foretold.

(a) as measured at the end; (b) as the final embedding foretells it: right on the training set and on what its
parallelograms lead to from there; (c) the one against the other.
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from results.figures.curves import Floats, runs_of
from results.figures.sheet import TRAIN, VAL, about, labels_of, note, sheet
from results.measures import predicted_accuracy
from results.palette import GREY
from results.sweep import Sweep, TrainingSets

MEASURED = "full_accuracy"
PANELS = ("(a) measured", "(b) foretold by the embedding", "(c) agreement")


def draw(sweep: Sweep, title: str, training: TrainingSets) -> Figure:
    """Raises ValueError for a sweep that does not vary the train size, or kept no embeddings."""
    labels = labels_of(sweep, "train_size", cell=["train_size"])
    if MEASURED not in sweep.trace_schema.names or sweep.spec.get("snapshots") is None:
        raise ValueError("the figure needs `metrics: [full_accuracy]` and `snapshots: {what: embedding}` in the spec")
    found = []
    for row, trace in runs_of(sweep, labels, (MEASURED,)):
        kept = sweep.snapshots(row["run_id"])
        foretold = predicted_accuracy(kept[max(kept)], training(row["run_id"]))
        found.append((row["train_fraction"], float(trace[MEASURED].iloc[-1]), foretold))
    fraction, measured, foretold_N = np.array(found).T
    subtitle = about(sweep, labels, "accuracy on the full table; line: median over seeds")
    figure, panels = sheet(title=title, subtitle=subtitle, panels=PANELS, size=(2.2, 2.1), own_axes=True)
    for panel, values, color in ((panels[0], measured, VAL), (panels[1], foretold_N, TRAIN)):
        _draw_over_fraction(panel, fraction, values, color)
    panels[2].plot([0, 1], [0, 1], ":", color=GREY, lw=1.0)
    panels[2].plot(foretold_N, measured, "o", color=VAL, ms=3.5, alpha=0.6, mew=0)
    note(panels[2], f"correlation {np.corrcoef(measured, foretold_N)[0, 1]:.2f}", x=0.95, y=0.14, ha="right")
    panels[2].set_xlabel("foretold")
    panels[2].set_ylabel("measured")
    for panel in panels:
        panel.set_xlim(-0.03, 1.03)
        panel.set_ylim(-0.03, 1.03)
    return figure


def _draw_over_fraction(panel: Axes, fraction: Floats, values: Floats, color: str) -> None:
    panel.plot(fraction, values, "o", color=color, ms=3.5, alpha=0.5, mew=0)
    at = np.unique(fraction)
    panel.plot(at, [np.median(values[fraction == x]) for x in at], color=color, lw=1.5)
    panel.set_xlabel("fraction of the pairs in training")
    panel.set_ylabel("accuracy")
