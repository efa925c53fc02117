"""Critical sizes and memory over an axis, each with its intervals and how it moved with the budget.

Left D05, D50 and D95 at the full budget, and D50 as it was at a quarter and at half of it: a curve that still moves is
the size by then, not a critical size. Right D_mem, and Huang et al.'s own count put on the same axis by way of facts.
Arrows stand where a size is only known to be larger (up) or smaller (down) than any that was trained.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator

from results.axes import AxisLayout, distinct, lay_out
from results.critical.findings import Findings
from results.critical.memory import Count
from results.critical.sizes import Threshold
from results.diagram import budget_text
from results.palette import FAINT, GREY, INK
from results.style import (
    MARGIN_IN,
    TEXT_PT,
    axes_at,
    bottom_margin,
    draw_header,
    draw_ticks,
    header_height,
    house_style,
    new_figure,
)

SHADES = {0.05: "#8FB7E8", 0.5: "#1644A3", 0.95: "#0B1F4B"}
MEMORY = "#B3261E"

# Inches
PANEL = (3.9, 3.2)
LEFT = 0.75
PAD = 0.25
KEY = 0.6
TITLE = 0.3

Line = Sequence[tuple[Any, Threshold]]


def critical_figure(found: Findings, *, title: str = "") -> Figure:
    """Draw the sizes of `found`, and its memory if any. ValueError if its axis is not one of positive numbers."""
    if found.curves is None:
        raise ValueError(f"{found.question.axis} is no axis of positive numbers: its sizes cannot be drawn")
    with house_style():
        return _draw(found, title)


def _draw(found: Findings, title: str) -> Figure:
    axis = found.question.axis
    n_panels = 2 if found.memory else 1
    layout = lay_out(axis, distinct(found.labels[axis])[1], "log")
    bottom = bottom_margin(layout, PANEL[0])
    width = n_panels * (LEFT + PANEL[0]) + PAD
    subtitle = f"{budget_text(found.labels, [axis])} · {found.labels['seed'].nunique()} seeds · 95 % intervals"
    head = header_height(title, subtitle, width) + TITLE
    figure = new_figure(width, head + PANEL[1] + bottom + KEY)
    draw_header(figure, title, subtitle)
    for i, draw in enumerate((_draw_sizes, _draw_memory)[:n_panels]):
        panel = axes_at(figure, LEFT + i * (LEFT + PANEL[0]), head, *PANEL)
        panel.set_yscale("log")
        handles = draw(panel, found, layout)
        panel.set_xlim(*layout.limits)
        panel.set_ylabel("train size")
        panel.yaxis.set_major_locator(FixedLocator(_round_values(*panel.get_ylim())))
        panel.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        panel.yaxis.set_minor_locator(NullLocator())
        draw_ticks(panel, layout, "x", PANEL[0], labelled=True)
        _draw_key(figure, LEFT + i * (LEFT + PANEL[0]), head + PANEL[1] + bottom, handles)
    return figure


def _round_values(low: float, high: float) -> list[float]:
    """Of ever finer series of round numbers the first that has four values in range, or the last."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for folds in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 6, 8), tuple(np.arange(1, 10, 0.5))):
        values = [fold * 10.0**power for power in powers for fold in folds if low <= fold * 10.0**power <= high]
        if len(values) >= 4:
            break
    return values


def _draw_sizes(axes: Axes, found: Findings, layout: AxisLayout) -> list[Line2D]:
    axes.set_title(_need(found.question.outcome), loc="left", pad=5)
    handles = []
    for budget_share, style in ((0.25, ":"), (0.5, "--")):
        line = [(s.axis_value, s.threshold) for s in found.sizes if s.share == 0.5 and s.budget_share == budget_share]
        if any(end.relation == "=" for _, end in line):
            _draw_line(axes, line, layout, FAINT, linestyle=style, bars=False)
            key: dict[str, Any] = {"linestyle": style, "label": f"D50 at {budget_share:g} T"}
            handles.append(Line2D([], [], color=FAINT, **key))
    for shift, (share, color) in zip((-1, 0, 1), SHADES.items(), strict=True):
        line = [(s.axis_value, s.threshold) for s in found.sizes if s.share == share and s.budget_share == 1]
        _draw_line(axes, line, layout, color, shift=shift)
        handles.append(Line2D([], [], color=color, marker="o", markersize=4, label=f"D{round(100 * share):02d}"))
    return handles


def _need(outcome: str) -> str:
    what = "generalize" if outcome == "generalized" else f"be {outcome}"
    return f"what 5, 50 and 95 % of the seeds need to {what}"


def _draw_memory(axes: Axes, found: Findings, layout: AxisLayout) -> list[Line2D]:
    axes.set_title("what is memorized of random labels", loc="left", pad=5)
    line = [(memory.axis_value, memory.threshold) for memory in found.memory if memory.budget_share == 1]
    _draw_line(axes, line, layout, MEMORY)
    handles = [Line2D([], [], color=MEMORY, marker="o", markersize=4, label="D_mem: half of the seeds fit")]
    if found.counts:
        _draw_counts(axes, found.counts, layout)
        label = "Huang et al.'s count, by way of facts"
        handles.append(Line2D([], [], color=INK, marker="s", markersize=4, linestyle="--", label=label))
    return handles


def _draw_counts(axes: Axes, counts: Sequence[Count], layout: AxisLayout) -> None:
    places = dict(zip(layout.values, layout.positions, strict=True))
    known = [count for count in counts if math.isfinite(count.size) and count.axis_value in places]
    x = [places[count.axis_value] for count in known]
    axes.plot(x, [count.size for count in known], "s--", color=INK, markersize=4, linewidth=1.0)


def _draw_line(
    axes: Axes,
    line: Line,
    layout: AxisLayout,
    color: str,
    *,
    shift: float = 0.0,
    linestyle: str = "-",
    bars: bool = True,
) -> None:
    """Known points joined, each with its interval; arrows at bounds. `shift` parts lines at the same place."""
    places = dict(zip(layout.values, layout.positions, strict=True))
    step = 0.05 * float(np.diff(layout.positions).min()) if len(layout.positions) > 1 else 0.0
    shown = [(places[value] + 3 * shift * step, end) for value, end in line if value in places]
    known = [(x, end) for x, end in shown if end.relation == "="]
    style: dict[str, Any] = {"color": color, "linestyle": linestyle, "linewidth": 1.4}
    axes.plot([x for x, _ in known], [end.value for _, end in known], **style)
    if not bars:
        return
    for x, end in known:
        low = end.low if math.isfinite(end.low) else end.smallest
        high = end.high if math.isfinite(end.high) else end.largest
        axes.plot([x, x], [low, high], color=color, linewidth=1.0, alpha=0.7)
        axes.plot(x, end.value, "o", color=color, markersize=4)
    for x, end in shown:
        if end.relation in ("<", ">"):
            at = end.largest if end.relation == ">" else end.smallest
            axes.plot(x, at, "^" if end.relation == ">" else "v", color=color, markersize=5)


def _draw_key(figure: Figure, left_in: float, top_in: float, handles: Sequence[Line2D]) -> None:
    axes = axes_at(figure, left_in - LEFT + MARGIN_IN, top_in, LEFT + PANEL[0] - MARGIN_IN, KEY - 0.1)
    axes.set_axis_off()
    axes.legend(
        handles=list(handles), loc="center left", ncols=3, borderpad=0, borderaxespad=0, labelcolor=GREY,
        columnspacing=1.2, handlelength=1.8, prop={"size": TEXT_PT - 0.5},
    )  # fmt: skip
