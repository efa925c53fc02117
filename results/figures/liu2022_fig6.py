"""Liu et al. 2022, figure 6: phases of the toy model over two hyperparameters of its optimizer.

Labels are the paper's own (table 1: what crosses 90 % within 1e5 steps, and 1,000 steps of delay), laid out as there:
decoder learning rate across, and decay growing downwards, so that the fast and capable decoder is at the upper right.
Where a cell has several seeds, Fleiss' kappa says how far they agree beyond chance; it is the ceiling for any
comparison with the published picture, which shows one.
"""

from matplotlib.figure import Figure

from results.agreement import fleiss_kappa
from results.axes import check_column
from results.diagram import describe, phase_diagram
from results.figures.curves import axes_of
from results.figures.sheet import labels_of
from results.replicates import SEED_COLUMNS
from results.sweep import Sweep


def draw(sweep: Sweep, title: str) -> Figure:
    """Raises ValueError for a sweep that does not vary the decoder's learning rate and a second axis."""
    labels = labels_of(sweep, "learning_rate")
    others = [
        name for name in sweep.plan["axes"] if name not in (*SEED_COLUMNS, "learning_rate", "embedding_learning_rate")
    ]
    y = "embedding_learning_rate" if "embedding_learning_rate" in sweep.plan["axes"] else next(iter(others), None)
    if y is None:
        raise ValueError("the figure needs a second axis beside learning_rate: weight_decay or embedding_learning_rate")
    check_column(labels, y)
    undefined = labels["liu_phase"] == "undefined"
    named = labels.assign(phase=labels["liu_phase"].mask(undefined, "undecided"))
    scales = {name: axis["scale"] for name, axis in sweep.plan["axes"].items()}
    remarks = [sweep.plan["name"], describe(named, ["learning_rate", y], scales), "phases by the paper's rule"]
    if named["seed"].nunique() > 1:
        kappa = fleiss_kappa(named, axes_of(sweep, named))
        remarks.append(f"kappa between seeds {kappa:.2f}")
    if undefined.any():
        remarks.append(f"{undefined.sum()} runs whose validation crosses and whose training does not: undecided")
    figure = phase_diagram(named, x="learning_rate", y=y, scales=scales, title=title, subtitle=" · ".join(remarks))
    if y == "weight_decay":
        figure.axes[0].invert_yaxis()
    return figure
