"""Huang et al. 2024, figure 3: final validation accuracy over the train size, a line for each width."""

from matplotlib.figure import Figure

from results.axes import distinct, label_of, lay_out
from results.figures.curves import draw_mean, line_key, ordered_colors, undecided_key
from results.figures.sheet import about, accuracy_axis, labels_of, sheet
from results.style import draw_ticks
from results.sweep import Sweep

SIZE = (5.6, 3.2)


def draw(sweep: Sweep, title: str) -> Figure:
    """Raises ValueError for a sweep that does not vary train size and width, or more than those and seeds."""
    labels = labels_of(sweep, "train_size", "width", cell=["width", "train_size"])
    widths = distinct(labels["width"])[1]
    colors = dict(zip(widths, ordered_colors(len(widths)), strict=True))
    key = [line_key(f"width {label_of(width)}", color) for width, color in colors.items()]
    remark = "line: mean over seeds"
    figure, (panel,) = sheet(
        title=title, subtitle=about(sweep, labels, remark), panels=[""], size=SIZE, key=[*key, *undecided_key(labels)]
    )
    layout = lay_out("train_size", distinct(labels["train_size"])[1], "linear")
    for width, color in colors.items():
        draw_mean(panel, labels[labels["width"] == width], layout, "final_val_accuracy", color=color, band=False)
    accuracy_axis(panel)
    panel.set_ylabel("final validation accuracy")
    panel.set_xlim(*layout.limits)
    draw_ticks(panel, layout, "x", SIZE[0], labelled=True)
    return figure
