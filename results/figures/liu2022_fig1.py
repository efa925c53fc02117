"""Liu et al. 2022, figure 1: the first two principal components of the embeddings at stages of training.

At the start, when training accuracy gets to 90 %, when validation accuracy does, and at the end, of one run that
generalizes (else of any): where the effective dimension was measured that whose embeddings end with the lowest, else
the first. Each symbol is a number, in a colour that runs round with it.
"""

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from results.figures.curves import Floats, run_text, runs_of
from results.figures.sheet import about, labels_of, sheet
from results.figures.times import first_reach
from results.measures import principal_components
from results.style import TEXT_PT
from results.sweep import Sweep

LEVEL = 0.9
MEASURE = "effective_dimension"
DARKER = 0.72
"""Times the colours of the wheel: yellow and cyan are hard to read on white."""
GENERALIZED = ("grokking", "comprehension", "progression", "semi-grokking")


def draw(sweep: Sweep, title: str) -> Figure:
    """Raises ValueError for a sweep that kept no embeddings of symbols modulo p."""
    labels = labels_of(sweep)
    if sweep.spec.get("snapshots") is None or labels["modulus"].isna().all():
        raise ValueError("the figure needs a task modulo p, with `snapshots: {what: embedding}` in the spec")
    chosen, why = _chosen(sweep, labels)
    ((row, trace),) = runs_of(sweep, labels[labels["run_id"] == chosen], ("train_accuracy", "val_accuracy"))
    kept = sweep.snapshots(row["run_id"])
    moments = [first_reach(trace, f"{part}_accuracy", LEVEL) for part in ("train", "val")]
    stages = {
        "start": min(kept),
        "training at 90 %": _nearest(kept, moments[0]),
        "validation at 90 %": _nearest(kept, moments[1]),
        "end": max(kept),
    }
    n_symbols = int(row["modulus"])
    figure, panels = sheet(
        title=title,
        subtitle=about(sweep, labels, f"shown: {run_text(sweep, labels, row)}, {row['phase']}{why}"),
        panels=[f"{name}:\n" + ("never" if step is None else f"step {step:,}") for name, step in stages.items()],
        columns=4,
        size=(1.9, 1.9),
        title_lines=2,
    )
    for panel, step in zip(panels, stages.values(), strict=True):
        panel.set_xticks([])
        panel.set_yticks([])
        if step is not None:
            _draw_symbols(panel, np.asarray(kept[step])[:n_symbols])
    return figure


def _chosen(sweep: Sweep, labels: pd.DataFrame) -> tuple[str, str]:
    """The run to show, and what speaks for it."""
    generalized = labels[labels["phase"].isin(GENERALIZED)]
    among = labels if generalized.empty else generalized
    measured = sweep.measures(name=MEASURE, include_running=False)
    last = measured[measured["run_id"].isin(among["run_id"])].sort_values("step").groupby("run_id")["value"].last()
    if len(last) < 2:
        return str(among["run_id"].iloc[0]), ""
    which = "that generalize" if len(generalized) else "runs"
    return str(last.idxmin()), f", which ends with the lowest effective dimension of {len(last)} {which}"


def _nearest(kept: dict[int, Floats], at: float) -> int | None:
    """The snapshot closest in log time; None if the moment never came."""
    return min(kept, key=lambda step: abs(np.log(step + 1) - np.log(at + 1))) if np.isfinite(at) else None


def _draw_symbols(axes: Axes, embedding_VD: Floats) -> None:
    points, shares = principal_components(embedding_VD)
    colors = DARKER * colormaps["hsv"](np.linspace(0, 1, len(points), endpoint=False))[:, :3]
    axes.plot(*points.T, ".", ms=1, alpha=0)
    for symbol, (point, color) in enumerate(zip(points, colors, strict=True)):
        axes.annotate(str(symbol), point, ha="center", va="center", size=TEXT_PT - 2, color=color)
    axes.margins(0.12)
    axes.set_xlabel(f"{shares.sum():.0%} of the variance")
