"""Huang et al. 2024, figures 6 and 7: final validation accuracy over width, a panel for each train size.

The mean over seeds with its 95 % interval, as there; beside it every seed, the training accuracy, the phases of the
runs, and the verdict of the test for a descent between two rises.
"""

from matplotlib.figure import Figure

from results.descent import descents
from results.descent_figure import descent_figure
from results.figures.sheet import labels_of
from results.sweep import Sweep


def draw(sweep: Sweep, title: str) -> Figure:
    """Raises ValueError for a sweep that does not vary the width, or more than width, train size and seeds."""
    labels = labels_of(sweep, "width", cell=["width", "train_size"])
    facet = "train_size" if labels["train_size"].nunique() > 1 else None
    verdicts = descents(labels, axis="width", facet=facet)
    scales = {"width": "category", "train_size": "linear"}
    return descent_figure(
        labels, verdicts, axis="width", facet=facet, scales=scales, title=f"{title}: {sweep.plan['name']}"
    )
