"""Power et al. 2022, figure 2: best validation accuracy within the budget against the fraction of data in training.

Right panel there: a line for each operation. Left panel there: a line for each variant of the optimizer. Here one
picture, with a line for whatever the sweep varies beside the train size. The mean over seeds, as in the paper, and
every run as a dot. Variants that change one setting each are named by that setting.
"""

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from results.axes import distinct, label_of, lay_out
from results.figures.curves import apart, cells, draw_mean, in_words, line_key, undecided_key
from results.figures.sheet import about, accuracy_axis, labels_of, sheet
from results.replicates import SEED_COLUMNS
from results.style import draw_ticks
from results.sweep import Sweep

SIZE = (5.8, 3.4)


def draw(sweep: Sweep, title: str) -> Figure:
    """Raises ValueError for a sweep that does not vary the train size and something else."""
    labels = labels_of(sweep, "train_size")
    labels = labels.assign(percent=(100 * labels["train_fraction"]).round())
    others = [name for name in sweep.plan["axes"] if name not in (*SEED_COLUMNS, "train_size")]
    others = [name for name in others if name in labels and labels[name].nunique(dropna=False) > 1]
    if not others:
        raise ValueError("the figure needs a second axis beside train_size: task, or settings of the optimizer")
    parts = cells(labels, others)
    looks = apart(len(parts))
    chosen = [cell for cell, _ in parts]
    names = [label_of(cell["task"]) for cell in chosen] if others == ["task"] else variants(chosen)
    key = [line_key(name, *look) for name, look in zip(names, looks, strict=True)]
    figure, (panel,) = sheet(
        title=title,
        subtitle=about(sweep, labels, "mean over seeds"),
        panels=[""],
        size=SIZE,
        key=[*key, *undecided_key(labels)],
    )
    layout = lay_out("percent", distinct(labels["percent"])[1], "linear")
    for (_, part), (color, style) in zip(parts, looks, strict=True):
        draw_mean(panel, part, layout, "peak_val_accuracy", color=color, style=style, band=False)
    accuracy_axis(panel)
    panel.set_ylabel("best validation accuracy")
    panel.set_xlim(*layout.limits)
    draw_ticks(panel, layout, "x", SIZE[0], labelled=True)
    panel.set_xlabel("training data, % of the table")
    return figure


def variants(chosen: Sequence[dict[str, Any]]) -> list[str]:
    """Each combination of settings in words, without those that it shares with more than half of all."""
    words = [[_setting(name, value) for name, value in cell.items()] for cell in chosen]
    shared = {word for cell in words for word in cell if 2 * sum(word in other for other in words) > len(words)}
    return [", ".join(word for word in cell if word not in shared) or "none of these" for cell in words]


def _setting(name: str, value: Any) -> str:
    if name == "batch_size" and (value is None or value != value):
        return "full batch"
    return in_words({name: value})
