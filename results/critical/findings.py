"""Everything that is read off a sweep as a whole, in one value: `find(labels, traces, ...)`.

What a sweep lacks is left out and said in `notes`: zones and the star need a sweep of random labels, descents along a
numeric axis at least four points.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from results.axes import check_column, distinct
from results.cells import pooled_text
from results.counted import counted
from results.critical.memory import Count, Memory, RandomLabels, count_right, final_values, memory_sizes, thresholds
from results.critical.modelwise import Ratio, modelwise_ratios
from results.critical.outcomes import check_outcome
from results.critical.prediction import Prediction, find_star, predictions
from results.critical.settings import CriticalSettings
from results.critical.sizes import SIZE, CriticalSize, critical_sizes, parts
from results.critical.smooth import smooth_traces
from results.critical.star import Star
from results.critical.zones import Curves, Score, fit_curves, score_zones
from results.descent import DescentSettings, descents
from results.replicates import SEED_COLUMNS, with_replicate_seeds

ACCURACY, LOSS = "final_val_accuracy", "final_val_loss"
METRICS = {"val_accuracy": "epochwise_accuracy", "val_loss": "epochwise_loss"}

FINEST_P = 60
"""One over the smallest p value that the correction for many facets leaves."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked of which columns."""

    axis: str = "width"
    facet: str | None = None
    outcome: str = "generalized"


@dataclass(frozen=True, kw_only=True, eq=False)
class Findings:
    """At one value of the facet."""

    question: Question
    facet_value: Any
    labels: pd.DataFrame
    """The runs, with `final_val_loss`."""
    sizes: Sequence[CriticalSize]
    memory: Sequence[Memory] = ()
    counts: Sequence[Count] = ()
    curves: Curves | None = None
    star: Star | None = None
    scores: Sequence[Score] = ()
    ratios: Sequence[Ratio] = ()
    predictions: Sequence[Prediction] = ()
    modelwise: pd.DataFrame = field(default_factory=pd.DataFrame)
    """Rows of `descents` along the axis: one a train size, for accuracy and for loss."""
    epochwise: pd.DataFrame = field(default_factory=pd.DataFrame)
    """Rows of `descents` over steps: one for each value of the axis and train size, for accuracy and for loss."""
    notes: Sequence[str] = ()


def check_question(labels: pd.DataFrame, question: Question, axes: Sequence[str]) -> None:
    """Raises ValueError, saying what there is, if the runs cannot answer: an unknown or constant axis, a single train
    size, a hyperparameter that would be pooled. `axes` are those of the sweep."""
    check_outcome(question.outcome)
    for name in (question.axis, *([question.facet] if question.facet else [])):
        check_column(labels, name, axes=axes)
    if taken := [name for name in (SIZE, *SEED_COLUMNS) if name in (question.axis, question.facet)]:
        raise ValueError(f"sizes are read along {SIZE} over seeds; {taken[0]} cannot be axis or facet as well")
    n_sizes = labels[SIZE].nunique() if SIZE in labels.columns else 0
    counts = {name: labels[name].nunique(dropna=False) for name in axes if name in labels.columns}
    there = ", ".join(f"{name} ({counted(n, 'value')})" for name, n in counts.items())
    if n_sizes < 2:
        raise ValueError(f"critical sizes need runs at two train sizes or more; this sweep has {there or 'no axis'}")
    shown = [name for name in (question.facet, question.axis, SIZE) if name]
    if pooled := pooled_text(labels, shown, axes):
        raise ValueError(f"{pooled}: say with --facet which to keep apart")


def find(
    labels: pd.DataFrame,
    traces: pd.DataFrame,
    question: Question | None = None,
    *,
    random: RandomLabels | None = None,
    settings: CriticalSettings | None = None,
) -> list[Findings]:
    """One for each value of the facet. `traces` has run_id, step, val_accuracy and val_loss."""
    question, settings = question or Question(), settings or CriticalSettings()
    labels = with_replicate_seeds(with_loss(labels, traces, settings))
    if question.facet is None:
        return [_find(labels, traces, question, None, random, settings)]
    found = []
    for value, part in parts(labels, question.facet):
        own = _at(random, question.facet, value)
        found.append(_find(part, traces, question, value, own, settings))
    return found


def _at(random: RandomLabels | None, name: str, value: Any) -> RandomLabels | None:
    """The random labels at one value of the facet; all where they do not vary along it."""
    if random is None or name not in random.labels.columns or random.labels[name].nunique(dropna=False) < 2:
        return random
    return dict(random.by(name)).get(value)


def with_loss(labels: pd.DataFrame, traces: pd.DataFrame, settings: CriticalSettings) -> pd.DataFrame:
    """Labels with the final validation loss, read off the traces as the final accuracies are."""
    budgets = dict(zip(labels["run_id"], labels["steps"].to_numpy(dtype=float), strict=True))
    losses = final_values(traces, "val_loss", budgets, settings.tail)
    return labels.assign(**{LOSS: labels["run_id"].map(losses).astype(float)})


def _find(
    labels: pd.DataFrame,
    traces: pd.DataFrame,
    question: Question,
    facet_value: Any,
    random: RandomLabels | None,
    settings: CriticalSettings,
) -> Findings:
    axis, outcome = question.axis, question.outcome
    sizes = critical_sizes(labels, axis=axis, outcome=outcome, settings=settings)
    known: dict[str, Any] = {"question": question, "facet_value": facet_value, "labels": labels, "sizes": sizes}
    values = distinct(labels[axis])[1]
    if not is_positive_axis(values):
        return Findings(**known, notes=[f"{axis} is no axis of positive numbers: no star, zones or descents along it"])
    modelwise = _modelwise(labels, axis)
    known |= {
        "modelwise": modelwise,
        "epochwise": _epochwise(labels, traces, axis),
        "ratios": modelwise_ratios(labels, axis, settings) if len(values) > 1 else [],
        "curves": fit_curves(labels, axis, thresholds(random, axis) if random else {}, settings, outcome),
    }
    if random is None:
        return Findings(**known, notes=["no sweep of random labels (--with): no D_mem, star or zones"])
    of_accuracy = modelwise[modelwise["value"] == ACCURACY]
    verdicts = dict(zip(of_accuracy[SIZE].astype(int), of_accuracy["verdict"], strict=True))
    return Findings(
        **known,
        memory=memory_sizes(random, axis),
        counts=count_right(random, axis),
        star=find_star(labels, random, axis, outcome=outcome, settings=settings),
        scores=_scores(labels, random, question, settings),
        predictions=predictions(labels, random, verdicts, axis, outcome=outcome, settings=settings),
    )


def is_positive_axis(values: Sequence[Any]) -> bool:
    """Whether an axis can be drawn in logarithms."""
    return all(isinstance(value, int | float) and not isinstance(value, bool) and value > 0 for value in values)


def _scores(
    labels: pd.DataFrame, random: RandomLabels, question: Question, settings: CriticalSettings
) -> Sequence[Score]:
    return score_zones(
        labels,
        axis=question.axis,
        memory_without=lambda seed: thresholds(random if seed is None else random.without(seed), question.axis),
        settings=settings,
        outcome=question.outcome,
    )


def _modelwise(labels: pd.DataFrame, axis: str) -> pd.DataFrame:
    both = [descents(labels, axis=axis, facet=SIZE, value=value) for value in (ACCURACY, LOSS)]
    return pd.concat(both, ignore_index=True)


def _epochwise(labels: pd.DataFrame, traces: pd.DataFrame, axis: str) -> pd.DataFrame:
    """Over steps, on smoothed traces, at each value of the axis and train size (one family for Holm's correction)."""
    curves = smooth_traces(traces, list(METRICS), int(labels["steps"].max()))
    curves = curves.merge(labels[["run_id", "seed", axis, SIZE]], on="run_id")
    codes, cells = pd.MultiIndex.from_frame(curves[[axis, SIZE]]).factorize(sort=True)
    curves["cell"] = codes
    # So many facets leave Holm's correction no finding at the usual number: the smallest p value is one over it.
    fine = DescentSettings(n_resamples=max(DescentSettings().n_resamples, FINEST_P * len(cells)))
    rows = []
    for metric, name in METRICS.items():
        found = descents(curves, axis="step", facet="cell", value=metric, settings=fine)
        where = pd.DataFrame({axis: [cells[i][0] for i in found["cell"]], SIZE: [cells[i][1] for i in found["cell"]]})
        rows.append(pd.concat([where, found.drop(columns="cell").assign(value=name)], axis=1))
    return pd.concat(rows, ignore_index=True)
