"""One run drawn: its accuracies with the crossings and the onset that its label was read off, its parameter norm, and
the sentence that explains the label."""

import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from results.palette import FAINT, GREY, INK, PHASE_COLORS
from results.style import MARGIN_IN, TEXT_PT, axes_at, draw_header, header_height, house_style, new_figure

TRAIN, VAL, NORM = "#C2571A", "#1644A3", "#555555"
"""Training warm and validation cool, as memorizing and generalizing phases are."""

# Inches
WIDTH = 7.2
PANEL = (5.1, 2.4)
NORM_PANEL = 0.8
LEFT, GAP, BELOW = 0.62, 0.14, 0.5
WHY_LINE = 0.17


def run_figure(trace: pd.DataFrame, label: Mapping[str, Any], numbers: Mapping[str, float], shown: str) -> Figure:
    """`trace` has step and any of the metrics, `label` is the run's row of the labels table, `numbers` the evidence by
    name; `shown` tells the run from others."""
    title = f"{label['phase']}: run {label['run_id']}"
    subtitle = f"{shown} · confidence {label['confidence']:.2f} · classifier version {label['classifier_version']}"
    why = textwrap.wrap(str(label["why"]), 108)
    has_norm = "param_norm" in trace and np.isfinite(trace["param_norm"].to_numpy(float, na_value=np.nan)).any()
    with house_style():
        head = header_height(title, subtitle, WIDTH)
        body = PANEL[1] + (GAP + NORM_PANEL if has_norm else 0.0)
        figure = new_figure(WIDTH, head + body + BELOW + len(why) * WHY_LINE + MARGIN_IN)
        draw_header(figure, title, subtitle)
        top = axes_at(figure, LEFT, head, *PANEL)
        _draw_accuracies(top, trace, numbers)
        _draw_swatch(figure, label["phase"])
        lowest = top
        if has_norm:
            lowest = axes_at(figure, LEFT, head + PANEL[1] + GAP, PANEL[0], NORM_PANEL)
            _draw_norm(lowest, trace, numbers)
            top.tick_params(labelbottom=False)
        lowest.set_xlabel("step")
        for i, line in enumerate(reversed(why)):
            height = (MARGIN_IN + i * WHY_LINE) / figure.get_size_inches()[1]
            figure.text(MARGIN_IN / WIDTH, height, line, size=TEXT_PT, color=INK)
    return figure


def _draw_swatch(figure: Figure, phase: str) -> None:
    """A bar of the phase's colour along the left edge."""
    axes = axes_at(figure, 0.0, 0.0, 0.05, float(figure.get_size_inches()[1]))
    axes.set_axis_off()
    axes.set_ylim(0, 1)
    axes.axhspan(0, 1, color=PHASE_COLORS[phase], lw=0)


def _draw_accuracies(axes: Axes, trace: pd.DataFrame, numbers: Mapping[str, float]) -> None:
    step = trace["step"].to_numpy(float)
    _draw_moments(axes, numbers)
    for name, color, word in (("train_accuracy", TRAIN, "training"), ("val_accuracy", VAL, "validation")):
        if name in trace:
            axes.plot(step, trace[name].to_numpy(float, na_value=np.nan), color=color, lw=1.4, label=word, zorder=3)
    axes.axhline(numbers["chance"], color=FAINT, lw=0.8, ls=":", zorder=1)
    axes.text(1.01, numbers["chance"], "chance", transform=axes.get_yaxis_transform(), color=GREY, va="center")
    axes.set_ylim(-0.03, 1.03)
    axes.set_ylabel("accuracy")
    _log_steps(axes, step)
    _name_moments(axes, numbers)
    axes.legend(loc="upper left", bbox_to_anchor=(0.99, 0.34), handlelength=1.4)


def _draw_norm(axes: Axes, trace: pd.DataFrame, numbers: Mapping[str, float]) -> None:
    step = trace["step"].to_numpy(float)
    _draw_moments(axes, numbers)
    axes.plot(step, trace["param_norm"].to_numpy(float, na_value=np.nan), color=NORM, lw=1.2)
    axes.set_ylabel("norm")
    _log_steps(axes, step)


def _draw_moments(axes: Axes, numbers: Mapping[str, float]) -> None:
    """Crossings as the intervals that the logged rows allow, the onset as a line."""
    for name, color in (("t_train", TRAIN), ("t_val", VAL)):
        if np.isfinite(numbers[name]):
            low, high = (max(numbers[each], 0.8) for each in (f"{name}_lo", f"{name}_hi"))
            axes.axvspan(low, high, color=color, alpha=0.25, lw=0)
            axes.axvline(max(numbers[name], 0.8), color=color, lw=0.8, alpha=0.7)
    if np.isfinite(numbers["t_onset"]):
        axes.axvline(max(numbers["t_onset"], 0.8), color=INK, lw=0.9, ls="--")


def _name_moments(axes: Axes, numbers: Mapping[str, float]) -> None:
    """Beside the panel, in the order of their steps."""
    words = {
        "t_train": ("training holds\nits level", TRAIN),
        "t_onset": ("validation\nleaves chance", INK),
        "t_val": ("validation holds\nits level", VAL),
    }
    seen = sorted((numbers[name], name) for name in words if np.isfinite(numbers[name]))
    for i, (step, name) in enumerate(seen):
        word, color = words[name]
        style: dict[str, Any] = {"transform": axes.transAxes, "color": color, "va": "top", "size": TEXT_PT - 1}
        axes.text(1.02, 1.0 - 0.2 * i, f"{step:,.0f}: {word}", **style)


def _log_steps(axes: Axes, step: np.ndarray[Any, Any]) -> None:
    """Logarithmic, step 0 at the left edge."""
    axes.set_xscale("log")
    last = max(float(step[-1]), 2.0)
    axes.set_xlim(0.8, last * 1.03)
    powers = [10.0**k for k in range(int(np.log10(last)) + 1)]
    axes.xaxis.set_major_locator(FixedLocator(powers))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
