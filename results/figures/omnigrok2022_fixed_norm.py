"""Liu et al. 2023 (Omnigrok), fixed weight norm: when training and validation accuracy get there, over the initial
scale of the weights, a panel for each way of training.

The shaded gap is the delay of generalizing behind memorizing. A run that does not get there within the budget is a
triangle above the line of the budget.
"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from results.axes import distinct, label_of, lay_out
from results.figures.curves import cells, line_key, runs_of, titles_of
from results.figures.sheet import TRAIN, VAL, about, labels_of, sheet
from results.figures.times import censored_median, first_reach
from results.palette import GREY
from results.replicates import SEED_COLUMNS
from results.style import draw_ticks
from results.sweep import Sweep

LEVEL = 0.9
SIZE = (2.5, 2.3)
ABOVE = 1.4
AXIS = "init_scale"


def draw(sweep: Sweep, title: str) -> Figure:
    """Raises ValueError for a sweep that does not vary init_scale."""
    labels = labels_of(sweep, AXIS)
    others = [n for n in sweep.plan["axes"] if n not in (*SEED_COLUMNS, AXIS) and labels[n].nunique(dropna=False) > 1]
    parts = cells(labels, others) if others else [({}, labels)]
    key = [
        line_key("training: median", TRAIN),
        line_key("validation: median", VAL),
        Patch(color=GREY, alpha=0.12, lw=0, label="the delay"),
        Line2D([], [], marker="^", ls="", ms=5, mfc="white", mec=GREY, label="not within the budget"),
    ]
    names, n_lines = titles_of([_arm(cell) for cell, _ in parts], [part for _, part in parts], SIZE[0])
    figure, panels = sheet(
        title=title,
        subtitle=about(sweep, labels, f"first step at {LEVEL:.0%} accuracy"),
        panels=names,
        columns=min(3, len(parts)),
        size=SIZE,
        title_lines=n_lines,
        key=key,
    )
    layout = lay_out(AXIS, distinct(labels[AXIS])[1], "log")
    budget = float(labels["steps"].max())
    fastest = budget
    for i, (panel, (_, part)) in enumerate(zip(panels, parts, strict=True)):
        panel.set_yscale("log")
        panel.set_xlim(*layout.limits)
        panel.axhline(budget, color=GREY, lw=0.8, ls=":")
        places = dict(zip(layout.values, layout.positions, strict=True))
        found: dict[str, dict[float, list[float]]] = {"train": {}, "val": {}}
        for row, trace in runs_of(sweep, part, ("train_accuracy", "val_accuracy")):
            for name, times in found.items():
                place = float(places[next(v for v in layout.values if np.isclose(v, row[AXIS]))])
                times.setdefault(place, []).append(first_reach(trace, f"{name}_accuracy", LEVEL))
        train = _draw_times(panel, found["train"], TRAIN, budget, -0.006)
        val = _draw_times(panel, found["val"], VAL, budget, 0.006)
        _shade_delay(panel, train, val, ABOVE * budget)
        fastest = min([fastest, *train.values(), *val.values()])
        draw_ticks(panel, layout, "x", SIZE[0], labelled=True)
        panel.tick_params(labelleft=i == 0)
    for panel in panels:
        panel.set_ylim(fastest / 3, budget * ABOVE * 1.6)
    panels[0].set_ylabel("steps")
    return figure


def _arm(cell: dict[str, object]) -> str:
    fixed = cell.get("fixed_norm")
    if fixed is None:
        return ", ".join(f"{name} {label_of(value)}" for name, value in cell.items()) or "all runs"
    if fixed:
        return "norm held fixed"
    return f"free, decay {label_of(cell['weight_decay'])}" if "weight_decay" in cell else "free"


def _draw_times(
    axes: Axes, times: dict[float, list[float]], color: str, budget: float, shift: float
) -> dict[float, float]:
    """Every run, and a line through the medians, which are returned: by place, inf where most do not get there."""
    for place, values in times.items():
        seen = [max(value, 1.0) for value in values if np.isfinite(value)]
        axes.plot([place + shift] * len(seen), seen, "o", ms=3.5, color=color, alpha=0.7, mew=0)
        late = len(values) - len(seen)
        spread = place + 4 * shift + (np.arange(late) - (late - 1) / 2) * 0.02
        axes.plot(spread, np.full(late, ABOVE * budget), "^", ms=4.5, mfc="white", mec=color, mew=0.9)
    medians = {place: max(censored_median(values), 1.0) for place, values in sorted(times.items())}
    broken = [value if np.isfinite(value) else np.nan for value in medians.values()]
    axes.plot(list(medians), broken, color=color, lw=1.4)
    return medians


def _shade_delay(axes: Axes, train: dict[float, float], val: dict[float, float], top: float) -> None:
    """Between the medians; up to `top` where validation does not get there."""
    both = [place for place in train if np.isfinite(train[place])]
    axes.fill_between(
        both, [train[place] for place in both], [min(val[place], top) for place in both], color=GREY, alpha=0.12, lw=0
    )
