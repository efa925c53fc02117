"""Davies et al. 2022, figure 6: right answers on validation early in training, those of the form 0 / b apart.

Left their number: of all examples, and of each named subset, with the count at the peak of each seed. Right the
accuracy of each subset, with a line at chance: while 0 / b is right, the others fall below it. The number of examples
of a subset is not stored; it is the least number that makes a count of every accuracy logged.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from results.figures.curves import APART, Floats, line_key, numbers, runs_of
from results.figures.sheet import about, labels_of, linear_steps, note, sheet
from results.palette import GREY, INK
from results.sweep import Sweep

PREFIX = "val_accuracy_"
ALL = "val_accuracy"
WORDS = {"zero": "0 / b", "one": "a / 1", "same": "a / a", "rest": "all others"}
ORDER = [PREFIX + name for name in ("zero", "one", "same", "rest")]
EXACT = 1e-6
MOST = 0.9


@dataclass(frozen=True, kw_only=True)
class Bump:
    """The early peak of right answers of one run: the most of them before the others are least often right."""

    seed: int
    step: int
    right: int
    zero_right: int
    """Of them, of the form 0 / b."""
    zeros: int
    """Validation examples of that form."""
    below_from: int | None
    below_to: int | None
    """Steps between which the accuracy of all others lies below chance. None: it never does; it does to the end."""
    rest_least: float
    """Their least accuracy."""


def bumps(sweep: Sweep, labels: pd.DataFrame) -> list[Bump]:
    """One a seed, for a sweep with the subsets `zero` and `rest`."""
    found = []
    for row, trace in runs_of(sweep, labels, (ALL, f"{PREFIX}zero", f"{PREFIX}rest")):
        steps, right, zero, rest = (numbers(trace[name]) for name in ("step", ALL, f"{PREFIX}zero", f"{PREFIX}rest"))
        trough = _trough(zero, rest)
        at = int(np.argmax(right[: trough + 1]))
        zeros = count_of(zero, int(row["val_size"]))
        above = np.flatnonzero(rest >= row["chance_accuracy"])
        before, after = above[above < trough], above[above > trough]
        is_below = rest[trough] < row["chance_accuracy"]
        found.append(
            Bump(
                seed=int(row["seed"]),
                step=int(steps[at]),
                right=round(right[at] * row["val_size"]),
                zero_right=round(zero[at] * zeros),
                zeros=zeros,
                below_from=int(steps[before[-1] + 1 if len(before) else 0]) if is_below else None,
                below_to=int(steps[after[0]]) if is_below and len(after) else None,
                rest_least=float(rest[trough]),
            )
        )
    return found


def _trough(zero: Floats, rest: Floats) -> int:
    """The row in which the others are least often right after most of 0 / b are; the last one if they never are."""
    learned = np.flatnonzero(zero >= MOST)
    if not len(learned):
        return len(rest) - 1
    return int(learned[0] + np.argmin(rest[learned[0] :]))


def draw(sweep: Sweep, title: str) -> Figure:
    """Raises ValueError for a sweep without accuracies of named subsets, or over more than seeds."""
    labels = labels_of(sweep, cell=[])
    names = [name for name in sweep.trace_schema.names if name.startswith(PREFIX)]
    if not names:
        raise ValueError("the figure needs accuracies of subsets; name them in `metrics`, as val_accuracy_zero")
    names.sort(key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))
    subsets = [name.removeprefix(PREFIX) for name in names]
    colors = dict(zip(names, APART, strict=False))
    key = [line_key("all", INK), *(line_key(WORDS.get(s, s), colors[n]) for s, n in zip(subsets, names, strict=True))]
    figure, panels = sheet(
        title=title,
        subtitle=about(sweep, labels, "line: mean over seeds"),
        panels=["right answers on validation", "accuracy"],
        size=(3.5, 2.5),
        own_axes=True,
        key=[*key, line_key("chance", GREY, ":")],
    )
    traces = [trace for _, trace in runs_of(sweep, labels, (ALL, *names))]
    val_size = int(labels["val_size"].iloc[0])
    for name, color in {ALL: INK, **colors}.items():
        sizes = [val_size if name == ALL else count_of(numbers(trace[name]), val_size) for trace in traces]
        counts = _mean([numbers(trace[name]) * size for trace, size in zip(traces, sizes, strict=True)])
        accuracy = _mean([numbers(trace[name]) for trace in traces])
        panels[0].plot(traces[0]["step"], counts, color=color, lw=1.2)
        panels[1].plot(traces[0]["step"], accuracy, color=color, lw=1.2)
    chance = float(labels["chance_accuracy"].iloc[0])
    panels[1].axhline(chance, color=GREY, lw=0.9, ls=":")
    panels[1].set_yscale("symlog", linthresh=chance / 4, linscale=0.4)
    panels[1].set_ylim(-chance / 40, 1.5)
    panels[0].set_ylim(bottom=0)
    panels[1].set_yticks([0, *(power for power in (1e-3, 1e-2, 1e-1, 1.0) if power > chance / 8)])
    if {f"{PREFIX}zero", f"{PREFIX}rest"} <= set(names):
        peaks = [
            f"seed {b.seed}: {b.right} right at step {b.step:,}, {b.zero_right} of them 0 / b"
            for b in bumps(sweep, labels)
        ]
        note(panels[0], "\n".join(peaks), x=0.12)
    for panel in panels:
        linear_steps(panel, float(labels["steps"].max()))
        panel.set_xlabel("step")
    return figure


def count_of(accuracies: Floats, most: int) -> int:
    """The least number of examples of which all these accuracies are shares; `most` if no smaller number fits.

    With few right answers it may be a divisor of the true number, and the counts too small by that factor; hundreds of
    rows rule that out in practice.
    """
    known = np.unique(accuracies[np.isfinite(accuracies)])
    sizes = np.arange(1, most + 1)
    counts = known[None, :] * sizes[:, None]
    fits = (np.abs(counts - counts.round()) < EXACT * sizes[:, None]).all(axis=1)
    return int(sizes[int(np.argmax(fits))]) if fits.any() else most


def _mean(curves: list[Floats]) -> Floats:
    mean: Floats = np.mean(np.stack(curves), axis=0)
    return mean
