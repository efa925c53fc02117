"""What the papers' figures are made of: a metric over the steps of each run, and a mean over seeds along an axis.

Colours of things that have an order (widths, train sizes, seeds in theirs) run from dark to light; of things that have
none they are as far apart as they can be, and line styles help where there are many.
"""

import textwrap
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from scipy import stats

from results.axes import AxisLayout, distinct, label_of
from results.cells import pooled_axes
from results.palette import GREY, INK, PHASE_ORDER
from results.replicates import SEED_COLUMNS
from results.style import CHARACTER_IN, TEXT_PT
from results.sweep import Sweep

Floats = npt.NDArray[np.float64]

APART = ("#1644A3", "#C2571A", "#2E8B57", "#83609F", "#B3261E", "#5E9FD2", "#8C6D1F", "#D45C9A", "#555555")
STYLES = ("-", "--", ":")


def ordered_colors(n: int) -> list[str]:
    """From dark to light, still readable on white."""
    return [to_hex(colormaps["viridis"](place)) for place in np.linspace(0.0, 0.88, n)]


def apart(n: int) -> list[tuple[str, str]]:
    """Colour and line style of each of n things without an order."""
    styles = [style for style in STYLES for _ in APART]
    return list(islice(zip(cycle(APART), cycle(styles), strict=False), n))


def runs_of(sweep: Sweep, labels: pd.DataFrame, metrics: Sequence[str]) -> Iterator[tuple[pd.Series, pd.DataFrame]]:
    """Each labelled run's row of the labels with its trace: step and the metrics."""
    traces = sweep.traces(["run_id", "step", *metrics], include_running=False)
    of_run = dict(iter(traces.groupby("run_id", sort=False)))
    for _, row in labels.iterrows():
        if row["run_id"] in of_run:
            yield row, of_run[row["run_id"]]


def numbers(column: "pd.Series[Any]") -> Floats:
    """Without null."""
    return column.to_numpy(dtype=float, na_value=np.nan)


def phases_text(labels: pd.DataFrame) -> str:
    """`progression 2, undecided 1`, in the order of the phases."""
    counts = labels["phase"].value_counts()
    named = [(phase, int(counts[phase])) for phase in PHASE_ORDER if phase in counts.index]
    if len(named) == 1:
        return named[0][0]
    return ", ".join(f"{phase} {count}" for phase, count in named)


def titles_of(heads: Sequence[str], parts: Sequence[pd.DataFrame], width_in: float) -> tuple[list[str], int]:
    """For each panel its head and under it the phases of its runs, broken into lines that fit, and the most lines."""
    characters = int(width_in / (TEXT_PT * CHARACTER_IN))
    titles = [
        "\n".join([*textwrap.wrap(f"{head}:", characters), *textwrap.wrap(phases_text(p), characters)])
        for head, p in zip(heads, parts, strict=True)
    ]
    return titles, max(title.count("\n") for title in titles) + 1


def axes_of(sweep: Sweep, labels: pd.DataFrame) -> list[str]:
    """The axes that are columns of the labels, without seeds."""
    return [name for name in sweep.plan["axes"] if name in labels and name not in SEED_COLUMNS]


def replicates_of(sweep: Sweep, labels: pd.DataFrame, row: "pd.Series[Any]") -> pd.DataFrame:
    """The runs that differ from that of this row in seeds alone, itself included."""
    axes = axes_of(sweep, labels)
    if not axes:
        return labels
    setting = labels.groupby(axes, dropna=False).ngroup()
    return labels[setting.isin(setting[labels["run_id"] == row["run_id"]])]


def run_text(sweep: Sweep, labels: pd.DataFrame, row: "pd.Series[Any]") -> str:
    """`seed 0, width 32`: the run as its sweep tells it apart."""
    seeds = [name for name in SEED_COLUMNS if name in labels and labels[name].nunique() > 1]
    return in_words({name: row[name] for name in [*(seeds or ["seed"]), *axes_of(sweep, labels)]})


def cells(labels: pd.DataFrame, names: Sequence[str]) -> list[tuple[dict[str, Any], pd.DataFrame]]:
    """The labels of each combination of these columns that occurs, in order."""
    groups = labels.groupby(list(names), dropna=False, sort=True)
    found = []
    for values, part in groups:
        known = values if isinstance(values, tuple) else (values,)
        found.append((dict(zip(names, known, strict=True)), part))
    return found


def cells_apart(sweep: Sweep, labels: pd.DataFrame, names: Sequence[str]) -> list[tuple[dict[str, Any], pd.DataFrame]]:
    """`cells` by these columns and by each axis of the sweep that varies within them: the runs of one differ in seeds
    alone."""
    return cells(labels, [*names, *pooled_axes(labels, names, sweep.plan["axes"])])


def in_words(cell: dict[str, Any]) -> str:
    """`width 8, train_size 3000`."""
    return ", ".join(f"{name} {label_of(_plain(value))}" for name, value in cell.items())


def _plain(value: Any) -> Any:
    return None if value is None or value != value else value.item() if isinstance(value, np.generic) else value


def mean_over_seeds(labels: pd.DataFrame, x: str, value: str) -> pd.DataFrame:
    """Columns x, mean, low and high (95 % Student interval of the mean; NaN with one seed) and n, by x."""
    known = labels[np.isfinite(numbers(labels[value]))]
    at = known.groupby(x)[value].agg(["mean", "sem", "count"])
    half = stats.t.ppf(0.975, np.maximum(at["count"] - 1, 1)) * at["sem"]
    table = {"x": at.index, "mean": at["mean"], "low": at["mean"] - half, "high": at["mean"] + half, "n": at["count"]}
    return pd.DataFrame(table).reset_index(drop=True)


def draw_mean(
    axes: Axes,
    labels: pd.DataFrame,
    layout: AxisLayout,
    value: str,
    *,
    color: str,
    style: str = "-",
    limits: tuple[float, float] = (0.0, 1.0),
    band: bool = True,
) -> None:
    """The mean over seeds along an axis, with its interval, and every run as a dot: hollow where it is undecided."""
    places = dict(zip(layout.values, layout.positions, strict=True))
    codes, keys = distinct(labels[layout.name])
    placed = labels.assign(_x=np.array([places[key] for key in keys])[codes])
    mean = mean_over_seeds(placed, "_x", value)
    if band:
        low, high = (np.clip(mean[name].to_numpy(), *limits) for name in ("low", "high"))
        axes.fill_between(mean["x"], low, high, color=color, alpha=0.13, lw=0)
    axes.plot(mean["x"], mean["mean"], color=color, lw=1.5, ls=style, zorder=3)
    is_open = (placed["phase"] == "undecided").to_numpy()
    for chosen, fill in ((~is_open, color), (is_open, "white")):
        part = placed[chosen]
        axes.plot(
            part["_x"], numbers(part[value]), "o", ms=3.2, mfc=fill, mec=color, mew=0.7, alpha=0.6, ls="", zorder=4
        )


def line_key(label: str, color: str, style: str = "-") -> Line2D:
    return Line2D([], [], color=color, ls=style, lw=1.5, label=label)


def undecided_key(labels: pd.DataFrame) -> list[Artist]:
    """For the hollow dots, if there are any."""
    dot = Line2D([], [], marker="o", ms=4, mfc="white", mec=INK, ls="", label="a run that is undecided")
    return [dot] if (labels["phase"] == "undecided").any() else []


def mean_key(labels: pd.DataFrame, cell: Sequence[str]) -> list[Artist]:
    """For the bands and hollow dots of `draw_mean`, if there are any; runs equal in `cell` are seeds."""
    band = Patch(facecolor=GREY, alpha=0.25, lw=0, label="95 % interval of the mean over seeds")
    return [*([band] if labels.duplicated(list(cell)).any() else []), *undecided_key(labels)]
