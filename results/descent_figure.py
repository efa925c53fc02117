"""Accuracy along an axis, with the verdict on whether it descends twice.

One panel per facet: every seed as a faint point, the mean over seeds with its Student interval, the mean training
accuracy for comparison, peak and bottom of a dip that the test found, and under the axis a strip with the share of each
phase among the runs at that point.
"""

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from scipy import stats

from results.axes import AxisLayout, Floats, distinct, label_of, lay_out, scale_of
from results.cells import diagram_table, phase_shares
from results.descent.sentences import p_text
from results.diagram import budget_text
from results.legend import draw_legend, legend_size
from results.palette import FAINT, GREY, INK, PHASE_COLORS, PHASE_HATCHES, PHASE_ORDER, tint
from results.replicates import with_replicate_seeds
from results.style import (
    MARGIN_IN,
    axes_at,
    bottom_margin,
    draw_header,
    draw_ticks,
    header_height,
    house_style,
    new_figure,
)

CURVE = "#1644A3"

# Inches
PANEL = (3.85, 1.9)
WIDE_PANEL = (6.6, 2.7)
STRIP = 0.24
STRIP_GAP = 0.08
LEFT = 0.62
PANEL_TITLE = 0.27
PAD = 0.2
KEY = 0.3


def descent_figure(
    labels: pd.DataFrame,
    verdicts: pd.DataFrame,
    *,
    axis: str,
    facet: str | None = None,
    scales: Mapping[str, str] | None = None,
    budget_steps: int | None = None,
    title: str = "",
) -> Figure:
    """Draw what `verdicts` (from `descents` on the same labels, axis and facet) judges.

    ValueError if verdicts and labels do not belong together.
    """
    labels = with_replicate_seeds(labels)
    values = distinct(labels[axis])[1]
    layout = lay_out(axis, values, scale_of(axis, values, scales or {}))
    keys = distinct(labels[facet])[1] if facet else [None]
    if len(keys) != len(verdicts):
        raise ValueError(f"{len(verdicts)} verdicts for {len(keys)} values of {facet or 'no facet'}")
    with house_style():
        return _draw(labels, verdicts, layout, facet, keys, title, _subtitle(labels, axis, facet, budget_steps))


def _subtitle(labels: pd.DataFrame, axis: str, facet: str | None, budget_steps: int | None) -> str:
    budget = budget_text(labels, [axis, facet or axis], budget_steps)
    return f"{budget} · {labels['seed'].nunique()} seeds · strip: share of each phase at that {axis}"


def _draw(
    labels: pd.DataFrame,
    verdicts: pd.DataFrame,
    layout: AxisLayout,
    facet: str | None,
    keys: list[Any],
    title: str,
    subtitle: str,
) -> Figure:
    n_columns = 1 if len(keys) == 1 else 2
    n_rows = math.ceil(len(keys) / n_columns)
    width, height = WIDE_PANEL if n_columns == 1 else PANEL
    bottom = bottom_margin(layout, width)
    row = PANEL_TITLE + height + STRIP_GAP + STRIP + PAD / 2
    runs = Counter(labels["phase"])
    legend = legend_size(runs, [], n_columns=3)
    figure_width = max(LEFT + n_columns * (width + PAD), legend[0]) + MARGIN_IN
    head = header_height(title, subtitle, figure_width)
    figure = new_figure(figure_width, head + n_rows * row + bottom + KEY + legend[1] + PAD)
    draw_header(figure, title, subtitle)
    value = str(verdicts["value"].iloc[0])
    largest = float(np.nanmax(labels[value].to_numpy(dtype=float), initial=0)) if "loss" in value else 1.0
    for i, (key, part) in enumerate(_parts(labels, facet, keys)):
        left, top = LEFT + i % n_columns * (width + PAD), head + i // n_columns * row + PANEL_TITLE
        panel = axes_at(figure, left, top, width, height)
        strip = axes_at(figure, left, top + height + STRIP_GAP, width, STRIP)
        _draw_panel(panel, part, verdicts.iloc[i], layout, value, largest, is_first=i % n_columns == 0)
        panel.set_title(_panel_title(facet, key, verdicts.iloc[i]), loc="left", pad=4)
        _draw_strip(strip, part, layout, width, labelled=i + n_columns >= len(keys))
    foot = head + n_rows * row + bottom
    _draw_key(figure, foot, value, labels)
    cells = Counter(diagram_table(labels, layout.name, None, facet)["phase"])
    draw_legend(figure, MARGIN_IN, foot + KEY, cells, runs, [], n_columns=3)
    return figure


def _parts(labels: pd.DataFrame, facet: str | None, keys: list[Any]) -> list[tuple[Any, pd.DataFrame]]:
    if facet is None:
        return [(None, labels)]
    codes, _ = distinct(labels[facet])
    return [(key, labels[codes == i]) for i, key in enumerate(keys)]


def _panel_title(facet: str | None, key: Any, verdict: pd.Series) -> str:
    name = f"{facet} = {label_of(key)}: " if facet else ""
    return f"{name}{str(verdict['verdict']).replace('_', ' ')}, {p_text(verdict.to_dict())}"


def _draw_panel(
    axes: Axes, part: pd.DataFrame, verdict: pd.Series, layout: AxisLayout, value: str, top: float, *, is_first: bool
) -> None:
    axes.set_xlim(*layout.limits)
    axes.set_xticks([])
    is_loss = "loss" in value
    axes.set_ylim(-0.04 * top, 1.04 * top)
    train = value.replace("val", "train")
    if train != value and train in part.columns:
        x, mean, _ = _over_seeds(part, layout, train)
        axes.plot(x, mean, color=FAINT, linewidth=1.2, linestyle="--")
    _, points, values = _points(part, layout, value)
    axes.plot(points, values, ".", color=CURVE, alpha=0.3, markersize=4, markeredgewidth=0)
    x, mean, half = _over_seeds(part, layout, value)
    most = np.inf if is_loss else 1.0
    axes.fill_between(
        x, np.clip(mean - half, 0, most), np.clip(mean + half, 0, most), color=tint(CURVE, 0.25), linewidth=0
    )
    axes.plot(x, mean, color=CURVE, linewidth=1.6)
    _mark_dip(axes, verdict, layout, dict(zip(x, mean, strict=True)), is_loss)
    axes.tick_params(axis="y", labelleft=is_first)
    if is_first:
        axes.set_ylabel(value.removeprefix("final_").replace("val_", "validation ").replace("_", " "))


def _points(part: pd.DataFrame, layout: AxisLayout, value: str) -> tuple[pd.Series, Floats, Floats]:
    """Seed, coordinate and value of every run that has one."""
    codes, keys = distinct(part[layout.name])
    places = dict(zip(layout.values, layout.positions, strict=True))
    values = part[value].to_numpy(dtype=float)
    known = np.isfinite(values)
    coordinates = np.array([places[key] for key in keys])[codes]
    return part["seed"][known], coordinates[known], values[known]


def _over_seeds(part: pd.DataFrame, layout: AxisLayout, value: str) -> tuple[Floats, Floats, Floats]:
    """Coordinate, mean over seeds and half the width of its 95 % Student interval (NaN with one seed)."""
    seeds, x, values = _points(part, layout, value)
    of_seed = pd.DataFrame({"seed": seeds.to_numpy(), "x": x, "value": values}).groupby(["x", "seed"])["value"].mean()
    at = of_seed.groupby("x").agg(["mean", "sem", "count"])
    half = stats.t.ppf(0.975, np.maximum(at["count"] - 1, 1)) * at["sem"]
    return at.index.to_numpy(dtype=float), at["mean"].to_numpy(), np.asarray(half, dtype=float)


def _mark_dip(axes: Axes, verdict: pd.Series, layout: AxisLayout, means: Mapping[float, float], is_loss: bool) -> None:
    """Rings on peak, bottom and end, the first two named, and a bar along which the bottom may lie."""
    if verdict["verdict"] not in ("double_descent", "dip_only"):
        return
    places = dict(zip(layout.values, layout.positions, strict=True))
    low, high = axes.get_ylim()
    names = ("minimum", "bump") if is_loss else ("peak", "dip")
    for column, name, is_above in (
        ("peak_at", names[0], not is_loss),
        ("dip_at", names[1], is_loss),
        ("end_at", "", True),
    ):
        x = places[verdict[column]]
        y = means[x]
        axes.plot(x, y, "o", color=INK, markerfacecolor="white", markersize=6, markeredgewidth=1.3)
        is_above = (is_above or y - low < 0.15 * (high - low)) and high - y > 0.15 * (high - low)
        axes.annotate(
            f"{name} {label_of(verdict[column])}" if name else "",
            (x, y),
            (0, 8 if is_above else -8),
            textcoords="offset points",
            ha="center",
            va="bottom" if is_above else "top",
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
        )
    if math.isfinite(verdict["dip_at_low"]):
        ends = [places[verdict["dip_at_low"]], places[verdict["dip_at_high"]]]
        axes.plot(ends, [means[places[verdict["dip_at"]]]] * 2, color=INK, linewidth=1.3, zorder=1.9)


def _draw_strip(axes: Axes, part: pd.DataFrame, layout: AxisLayout, width_in: float, *, labelled: bool) -> None:
    """For each value of the axis a column, split by the shares of the phases in their order."""
    axes.set_xlim(*layout.limits)
    axes.set_ylim(1, 0)
    axes.set_yticks([])
    shares = phase_shares(part, layout.name)
    places = {value: i for i, value in enumerate(layout.values)}
    indices = [places[value] for value in shares.index]
    ends = np.cumsum(shares.to_numpy(), axis=1)
    starts = ends - shares.to_numpy()
    for k, phase in enumerate(PHASE_ORDER):
        boxes = [
            [(x0, starts[i, k]), (x1, starts[i, k]), (x1, ends[i, k]), (x0, ends[i, k])]
            for i, (x0, x1) in enumerate(zip(layout.lows[indices], layout.highs[indices], strict=True))
            if ends[i, k] > starts[i, k]
        ]
        hatch = PHASE_HATCHES.get(phase)
        style: dict[str, Any] = {"edgecolors": FAINT if hatch else "white", "linewidths": 0.4, "hatch": hatch}
        axes.add_collection(PolyCollection(boxes, facecolors=PHASE_COLORS[phase], **style), autolim=False)
    draw_ticks(axes, layout, "x", width_in, labelled=labelled)


def _draw_key(figure: Figure, top_in: float, value: str, labels: pd.DataFrame) -> None:
    """What line, band, points and dashes are."""
    handles: list[Any] = [
        Line2D([], [], color=CURVE, linewidth=1.6, label="mean over seeds"),
        Patch(facecolor=tint(CURVE, 0.25), label="95 % interval of the mean"),
        Line2D([], [], color=CURVE, marker=".", linestyle="none", alpha=0.4, label="a seed"),
    ]
    train = value.replace("val", "train")
    if train != value and train in labels.columns:
        handles.append(Line2D([], [], color=FAINT, linestyle="--", label="mean on the training set"))
    axes = axes_at(figure, MARGIN_IN, top_in, figure.get_size_inches()[0] - 2 * MARGIN_IN, KEY)
    axes.set_axis_off()
    axes.legend(handles=handles, loc="center left", ncols=4, borderpad=0, borderaxespad=0, labelcolor=GREY)
