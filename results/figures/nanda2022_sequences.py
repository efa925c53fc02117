"""Nanda et al. 2023, other tasks: losses of sequences over steps, with finite and with infinite data.

A panel for each way of training, with all its seeds: training and validation loss, and where validation accuracy is
half way up. Below it the validation loss of each token of the answer, of the first seed, if the sweep measured it: on
infinite data each digit of a sum has a phase change of its own.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from results.axes import label_of
from results.figures.curves import axes_of, cells, line_key, numbers, ordered_colors, runs_of, titles_of
from results.figures.sheet import TRAIN, VAL, about, edges, labels_of, log_steps, note, sheet
from results.figures.times import first_reach
from results.sweep import Sweep

METRICS = {"train_loss": TRAIN, "val_loss": VAL}
TOKEN_LOSS = "val_token_loss"
FLOOR = 1e-7
"""Losses below are drawn here."""
FEW_TOKENS = 9
"""Up to here each has a place in the key."""
SIZE = (3.3, 1.9)


def draw(sweep: Sweep, title: str) -> Figure:
    labels = labels_of(sweep)
    axes = axes_of(sweep, labels)
    parts = cells(labels, axes or ["train_size"])
    tokens = _token_losses(sweep)
    names, n_lines = titles_of([_setup(cell) for cell, _ in parts], [part for _, part in parts], SIZE[0])
    n_tokens = 0 if tokens.empty else int(tokens["index"].max()) + 1
    colors = ordered_colors(max(n_tokens, 1))
    figure, panels = sheet(
        title=title,
        subtitle=about(sweep, labels),
        panels=[*names, *(["each token of the answer, validation"] * len(parts) if n_tokens else [])],
        columns=len(parts),
        size=SIZE,
        title_lines=n_lines,
        key=[line_key("training", TRAIN), line_key("validation", VAL), *_token_key(colors, n_tokens)],
    )
    for column, (_, part) in enumerate(parts):
        _draw_losses(panels[column], sweep, part)
        if n_tokens:
            first = part.sort_values("seed")["run_id"].iloc[0]
            _draw_tokens(panels[len(parts) + column], tokens[tokens["run_id"] == first], colors)
        for panel in panels[column :: len(parts)]:
            log_steps(panel, float(labels["steps"].max()))
    _share_scale(panels)
    edges(panels, len(parts), "step", "loss, nats")
    return figure


def _setup(cell: Mapping[str, Any]) -> str:
    """`512 examples`, or `infinite data, 128 a step`; then what else the sweep varies."""
    size, others = cell.get("train_size"), {n: v for n, v in cell.items() if n not in ("fresh", "train_size", "steps")}
    is_fresh = bool(cell.get("fresh", False))
    sizes = [] if size is None else [f"infinite data, {size:,} a step" if is_fresh else f"{size:,} examples"]
    return ", ".join([*sizes, *(f"{name.replace('_', ' ')} {label_of(value)}" for name, value in others.items())])


def _token_losses(sweep: Sweep) -> pd.DataFrame:
    measures = sweep.measures(include_running=False)
    return measures[measures["name"] == TOKEN_LOSS]


def _token_key(colors: list[str], n_tokens: int) -> list[Any]:
    if n_tokens > FEW_TOKENS:
        return [line_key("first token", colors[0]), line_key("last token", colors[-1])]
    return [line_key(f"token {place + 1}", colors[place]) for place in range(n_tokens)]


def _draw_losses(panel: Axes, sweep: Sweep, part: pd.DataFrame) -> None:
    halves = []
    for row, trace in runs_of(sweep, part, (*METRICS, "val_accuracy")):
        for name, color in METRICS.items():
            loss = np.maximum(numbers(trace[name]), FLOOR)
            panel.plot(trace["step"].clip(lower=0.8), loss, color=color, lw=0.9, alpha=0.85)
        halves.append(first_reach(trace, "val_accuracy", (1 + float(row["chance_accuracy"])) / 2))
    note(panel, "validation half way up:\n" + _at_steps(halves), x=0.03, y=0.3, linespacing=1.25)


def _at_steps(steps: list[float]) -> str:
    known = [f"{step:,.0f}" for step in sorted(steps) if not math.isinf(step)]
    never = len(steps) - len(known)
    return ", ".join([*(["step " + known[0]] if known else []), *known[1:], *([f"{never} never"] if never else [])])


def _draw_tokens(panel: Axes, tokens: pd.DataFrame, colors: list[str]) -> None:
    for place, rows in tokens.sort_values("step").groupby("index"):
        loss = np.maximum(rows["value"].to_numpy(dtype=float), FLOOR)
        panel.plot(rows["step"].clip(lower=0.8), loss, color=colors[int(str(place))], lw=1.0)


def _share_scale(panels: list[Axes]) -> None:
    drawn = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for panel in panels for line in panel.lines])
    known = drawn[np.isfinite(drawn)]
    for panel in panels:
        panel.set_yscale("log")
        panel.set_ylim(known.min() / 2, known.max() * 2)
