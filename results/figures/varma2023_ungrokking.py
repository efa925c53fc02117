"""Varma et al. 2023, ungrokking: final validation accuracy over the train size that a run ends with, by decay.

Runs learn the whole table first and go on with few examples. What the paper foretells: sharp in the train size, and
hardly a matter of decay. The dotted line is chance; the phases of the runs stand in the key.
"""

from matplotlib.figure import Figure

from results.axes import distinct, label_of, lay_out
from results.figures.curves import draw_mean, line_key, mean_key, ordered_colors, phases_text
from results.figures.sheet import about, accuracy_axis, labels_of, sheet
from results.style import draw_ticks
from results.sweep import Sweep

SIZE = (5.4, 3.0)


def draw(sweep: Sweep, title: str) -> Figure:
    """Raises ValueError for a sweep that does not vary the train size, or more than that, decay and seeds."""
    labels = labels_of(sweep, "train_size", cell=["weight_decay", "train_size"])
    decays = distinct(labels["weight_decay"])[1]
    colors = dict(zip(decays, ordered_colors(len(decays) + 1), strict=False))
    parts = {decay: labels[labels["weight_decay"] == decay] for decay in decays}
    key = [line_key(f"decay {label_of(d)}: {phases_text(part)}", colors[d]) for d, part in parts.items()]
    before = sorted(set(labels["train_size_before"].dropna())) if "train_size_before" in labels else []
    figure, (panel,) = sheet(
        title=title,
        subtitle=about(sweep, labels, *(f"before: {text}" for text in before if text)),
        panels=[""],
        size=SIZE,
        key=[*key, *mean_key(labels, ["weight_decay", "train_size"])],
    )
    layout = lay_out("train_size", distinct(labels["train_size"])[1], "log")
    for decay, part in parts.items():
        draw_mean(panel, part, layout, "final_val_accuracy", color=colors[decay])
    accuracy_axis(panel, float(labels["chance_accuracy"].iloc[0]))
    panel.set_ylabel("final validation accuracy")
    panel.set_xlim(*layout.limits)
    draw_ticks(panel, layout, "x", SIZE[0], labelled=True)
    panel.set_xlabel("train size at the end")
    return figure
