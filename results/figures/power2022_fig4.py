"""Power et al. 2022, appendix, outliers: accuracy over the number of training labels that were drawn at random.

Training accuracy counts the wrong labels too: all runs are to fit them. Validation is on true labels.
"""

from matplotlib.figure import Figure

from results.axes import distinct, lay_out
from results.figures.curves import draw_mean, line_key, mean_key
from results.figures.sheet import TRAIN, VAL, about, accuracy_axis, labels_of, sheet
from results.style import draw_ticks
from results.sweep import Sweep

SIZE = (5.2, 2.8)
VALUES = {
    "final_train_accuracy": ("training, outliers included", TRAIN),
    "peak_val_accuracy": ("validation, best", VAL),
}


def draw(sweep: Sweep, title: str) -> Figure:
    """Raises ValueError for a sweep that does not vary the number of outliers, or more than that and seeds."""
    labels = labels_of(sweep, "outliers", cell=["outliers"])
    key = [line_key(*look) for look in VALUES.values()]
    subtitle = about(sweep, labels, "line: mean over seeds")
    figure, (panel,) = sheet(
        title=title, subtitle=subtitle, panels=[""], size=SIZE, key=[*key, *mean_key(labels, ["outliers"])]
    )
    layout = lay_out("outliers", distinct(labels["outliers"])[1], "log")
    for value, (_, color) in VALUES.items():
        draw_mean(panel, labels, layout, value, color=color)
    accuracy_axis(panel, float(labels["chance_accuracy"].iloc[0]))
    panel.set_ylabel("accuracy")
    panel.set_xlim(*layout.limits)
    draw_ticks(panel, layout, "x", SIZE[0], labelled=True)
    panel.set_xlabel(f"outliers among {int(labels['train_size'].iloc[0]):,} training labels")
    return figure
