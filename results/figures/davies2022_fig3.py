"""Davies et al. 2022, figures 3 and 4: loss and accuracy as heat maps over the width and the steps of training.

Steps run upwards in logarithmic scale, widths to the right; the dotted contour is 90 % training accuracy. Grokking
over the size of the model shows to the right of it, grokking over time above it. Cells are means over seeds, of the
last row logged at or before each step.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from results.axes import distinct, label_of
from results.figures.curves import runs_of
from results.figures.sheet import about, edges, labels_of, sheet
from results.palette import INK
from results.style import axes_at
from results.sweep import Sweep

Floats = npt.NDArray[np.float64]

METRICS = ("val_loss", "train_loss", "val_accuracy", "train_accuracy")
PANELS = ("validation loss, nats", "training loss, nats", "validation accuracy", "training accuracy")
ROWS = 120
FLOOR = 1e-4
CONTOUR = 0.9
BAR = 0.1
NARROW = 200
"""A scale of losses below this range has few powers of ten on it: its ends and two more values are named instead."""


def draw(sweep: Sweep, title: str) -> Figure:
    """Raises ValueError for a sweep that does not vary the width, or more than that and seeds."""
    labels = labels_of(sweep, "width", cell=["width"])
    widths = distinct(labels["width"])[1]
    steps = np.geomspace(1, float(labels["steps"].max()), ROWS)
    maps = _maps(sweep, labels, widths, steps)
    size = (2.7, 2.2)
    figure, panels = sheet(
        title=title,
        subtitle=about(sweep, labels, "mean over seeds" if labels["seed"].nunique() > 1 else ""),
        panels=PANELS,
        columns=2,
        size=size,
        own_axes=True,
        right=0.75,
        key=[Line2D([], [], color=INK, ls=":", lw=1.6, label="90 % training accuracy")],
    )
    for panel, metric in zip(panels, METRICS, strict=True):
        is_loss = metric.endswith("loss")
        norm = _log_range(maps[metric]) if is_loss else Normalize(0, 1)
        image = _draw_map(panel, maps[metric], steps, norm, "magma_r" if is_loss else "viridis")
        _draw_contour(panel, maps["train_accuracy"], steps)
        _draw_bar(figure, panel, image)
        panel.set_xticks(range(len(widths)), [label_of(width) for width in widths])
    edges(panels, 2, "width", "step")
    return figure


def _maps(sweep: Sweep, labels: Any, widths: list[Any], steps: Floats) -> dict[str, Floats]:
    """(step, width) means over seeds."""
    found: dict[str, list[list[Floats]]] = {metric: [[] for _ in widths] for metric in METRICS}
    for row, trace in runs_of(sweep, labels, METRICS):
        at = np.searchsorted(trace["step"].to_numpy(dtype=float), steps, side="right") - 1
        for metric in METRICS:
            values = trace[metric].to_numpy(dtype=float, na_value=np.nan)
            found[metric][widths.index(row["width"])].append(values[np.maximum(at, 0)])
    nothing = np.full(len(steps), np.nan)
    return {
        m: np.stack([np.mean(part, axis=0) if part else nothing for part in parts], 1) for m, parts in found.items()
    }


def _log_range(losses: Floats) -> LogNorm:
    highest = max(float(np.nanmax(losses, initial=0.0)), 2 * FLOOR)
    return LogNorm(min(max(FLOOR, float(np.nanmin(losses, initial=highest))), highest / 2), highest)


def _draw_map(axes: Axes, values: Floats, steps: Floats, norm: Normalize, cmap: str) -> Any:
    growth = np.sqrt(steps[1] / steps[0])
    rows = np.append(steps / growth, steps[-1] * growth)
    columns = np.arange(values.shape[1] + 1) - 0.5
    axes.set_yscale("log")
    shown = np.maximum(values, norm.vmin or 0) if isinstance(norm, LogNorm) else values
    return axes.pcolormesh(columns, rows, shown, norm=norm, cmap=cmap, rasterized=True)


def _draw_contour(axes: Axes, accuracy: Floats, steps: Floats) -> None:
    """For each width the first step from which on the mean training accuracy is at 90 %, as steps of a stair."""
    reached = accuracy >= CONTOUR
    for i in range(accuracy.shape[1]):
        if reached[:, i].any():
            at = steps[int(np.argmax(reached[:, i]))]
            axes.plot([i - 0.5, i + 0.5], [at, at], color="white", lw=2.6)
            axes.plot([i - 0.5, i + 0.5], [at, at], color=INK, lw=1.6, ls=":")


def _draw_bar(figure: Figure, axes: Axes, image: Any) -> None:
    """The scale, to the right of a panel."""
    width, height = figure.get_size_inches()
    box = axes.get_position()
    bar = axes_at(figure, box.x1 * width + 0.12, (1 - box.y1) * height, BAR, box.height * height)
    scale = figure.colorbar(image, cax=bar)
    scale.ax.minorticks_off()
    low, high = image.get_clim()
    if isinstance(image.norm, LogNorm) and high < NARROW * low:
        values = np.geomspace(low, high, 4)
        scale.set_ticks(list(values), labels=[f"{value:.2g}" for value in values])
