"""Davies et al. 2022, figure 5: accuracy and loss at the end of training over the width.

Every run is a point; the lines are the points through a Gaussian filter over the width, as there. Delayed
generalization over the size of the model shows as a gap between the two lines that closes at large widths.
"""

import numpy as np
from matplotlib.figure import Figure

from results.axes import distinct, lay_out
from results.figures.curves import line_key, numbers, runs_of
from results.figures.sheet import TRAIN, VAL, about, accuracy_axis, labels_of, sheet
from results.measures import smoothed
from results.style import draw_ticks
from results.sweep import Sweep

SIZE = (3.3, 2.2)
FILTER = 0.12
"""Standard deviation of the filter, as a share of the range of widths on the axis."""


def draw(sweep: Sweep, title: str) -> Figure:
    """Raises ValueError for a sweep that does not vary the width, or more than that and seeds."""
    labels = labels_of(sweep, "width", cell=["width"])
    layout = lay_out("width", distinct(labels["width"])[1], "log")
    places = dict(zip(layout.values, layout.positions, strict=True))
    key = [line_key("training", TRAIN), line_key("validation", VAL)]
    figure, panels = sheet(
        title=title,
        subtitle=about(sweep, labels, "at the end; lines: smoothed over width"),
        panels=["accuracy", "loss, nats"],
        size=SIZE,
        own_axes=True,
        key=key,
    )
    ends = [
        (places[int(row["width"])], trace.iloc[-1])
        for row, trace in runs_of(sweep, labels, [f"{p}_{w}" for w in ("accuracy", "loss") for p in ("train", "val")])
    ]
    ends.sort(key=lambda end: end[0])
    x = np.array([place for place, _ in ends])
    filter_width = FILTER * float(np.ptp(layout.positions))
    for panel, what in zip(panels, ("accuracy", "loss"), strict=True):
        for part, color in (("train", TRAIN), ("val", VAL)):
            values = np.array([float(end[f"{part}_{what}"]) for _, end in ends])
            panel.plot(x, values, "o", ms=3.5, color=color, alpha=0.6, mew=0)
            at = np.unique(x)
            means = np.array([np.nanmean(values[x == place]) for place in at])
            panel.plot(at, smoothed(at, means, filter_width), color=color, lw=1.5)
        panel.set_xlim(*layout.limits)
        draw_ticks(panel, layout, "x", SIZE[0], labelled=True)
    accuracy_axis(panels[0], float(numbers(labels["chance_accuracy"])[0]))
    panels[1].set_ylim(bottom=0)
    return figure
