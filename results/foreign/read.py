"""From files to labels: `read_foreign`, then `Foreign.label`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from results.classify.sentences import steps
from results.classify.settings import ClassifierSettings
from results.classify.table import SortedRuns, label_sorted, sort_runs
from results.classify.warning_texts import FROM_LOSSES
from results.foreign.crossings import crossing_columns, label_crossings
from results.foreign.errors import ForeignError
from results.foreign.files import find_files, read_file
from results.foreign.names import ERRORS, words
from results.foreign.shapes import (
    METRICS,
    Source,
    Understanding,
    quoted,
    refuse_strangers,
    refuse_unknown_targets,
    to_long,
)
from results.foreign.units import (
    ACCURACIES,
    LOSS_AGREEMENT,
    as_shares,
    right_for_wrong,
    scores_for_losses,
    side_by_side,
    without_gaps,
)

__all__ = ["Foreign", "ForeignError", "read_foreign"]

BY_LOSSES = "With 1 - loss / ln(classes), from chance to 1, in place of accuracy: "
"""What a sentence on a run without accuracies begins with: a loss lags behind the accuracy that is not known."""
ABOUT = 0.96
"""Runs that end at this share of the longest one, or later, had the same budget; above the knob full_budget."""


@dataclass(frozen=True, kw_only=True)
class Foreign:
    """Tables as they were understood, ready to be labelled under any thresholds."""

    understood: Understanding
    traces: pd.DataFrame | None
    """run_id, step, metrics and hyperparameters; None for a table of crossing times."""
    crossings: pd.DataFrame | None
    given: Mapping[str, str]
    budget: float | None
    from_losses: bool

    def label(self, settings: ClassifierSettings) -> pd.DataFrame:
        """Labels of both passes; of crossing times those of Liu et al. alone."""
        if self.crossings is not None:
            fresh = Understanding()
            labels = label_crossings(self.crossings, self.given, settings, self.budget, fresh)
            self.understood.remarks[:] = [*dict.fromkeys([*self.understood.remarks, *fresh.remarks])]
            return labels
        labels = label_sorted(self.sorted_runs(), settings)
        self._remark_on_short_runs(settings)
        if not self.from_losses:
            return labels
        warning = labels["warning"].map(lambda words: ",".join(filter(None, [words, FROM_LOSSES])))
        confidence = labels["confidence"].clip(upper=LOSS_AGREEMENT)
        return labels.assign(confidence=confidence, warning=warning, why=BY_LOSSES + labels["why"])

    def _remark_on_short_runs(self, settings: ClassifierSettings) -> None:
        assert self.traces is not None
        longest = self.traces["step"].max()
        remark = (
            f"no run can be grokking: they go to step {longest:,.10g} at most, and generalization is late from "
            f"classifier.delta_steps on, {steps(settings.delta_steps)}; if steps are counted otherwise here (epochs, "
            "thousands), give --set classifier.delta_steps=STEPS"
        )
        if longest < settings.delta_steps and remark not in self.understood.remarks:
            self.understood.remarks.append(remark)

    def sorted_runs(self) -> SortedRuns:
        """Raises ForeignError for a table of crossing times."""
        if self.traces is None:
            raise ForeignError("a table of crossing times holds no traces")
        return sort_runs(self.traces)


def read_foreign(
    paths: Sequence[Path],
    *,
    given: Mapping[str, str] | None = None,
    classes: float | None = None,
    budget: float | None = None,
    settings: ClassifierSettings | None = None,
) -> Foreign:
    """Reads files, or the tables of a folder.

    Args:
        given: by target (run_id, step, a metric, t_train, t_val, a hyperparameter) the column that holds it.
        classes: number of classes, where no column says it: chance is 1 over it, a uniform guess has the loss ln of it.
        budget: steps that every run was meant to train, where no column says it.

    Raises ForeignError, which says what was found, what is needed and what would do; FileNotFoundError.
    """
    settings, given = settings or ClassifierSettings(), given or {}
    refuse_unknown_targets(given)
    files = find_files(paths)
    root = next((path for path in paths if path.is_dir()), None)
    sources = [Source(path=path, root=root, frame=read_file(path)) for path in files]
    columns = list(dict.fromkeys(name for source in sources for name in source.frame.columns))
    understood = Understanding()
    if all(crossing_columns(source.frame, given) for source in sources):
        refuse_strangers(given, columns, "columns")
        table = pd.concat([source.frame for source in sources], ignore_index=True)
        columns_of = crossing_columns(table, given) or {}
        understood.shape, understood.columns = "crossing times", dict(columns_of)
        return Foreign(
            understood=understood, traces=None, crossings=table, given=given, budget=budget, from_losses=False
        )
    long = to_long(sources, given, understood)
    _refuse_without_metrics(long, columns, understood)
    classes = classes or _classes_of(long, settings)
    long = right_for_wrong(as_shares(long, classes, understood), understood)
    long = side_by_side(long, understood)
    scored = scores_for_losses(long, classes, understood)
    step = pd.to_numeric(scored["step"], errors="coerce").to_numpy(float)
    placed = scored[np.isfinite(step) & scored["run_id"].notna()]
    if placed.empty:
        raise ForeignError(f"no row of {', '.join(str(path) for path in files)} has both a step and a name of its run")
    _refuse_longer_runs(placed, budget)
    traces = _with_facts(placed, classes, budget)
    return Foreign(
        understood=understood,
        traces=traces,
        crossings=None,
        given=given,
        budget=budget,
        from_losses=scored is not long,
    )


def _refuse_without_metrics(long: pd.DataFrame, columns: Sequence[str], understood: Understanding) -> None:
    """Both accuracies or both losses are needed."""
    if any({f"train_{kind}", f"val_{kind}"} <= set(long.columns) for kind in ("accuracy", "loss")):
        return
    found = {target: name for target, name in understood.columns.items() if target in METRICS}
    known = ", ".join(f"{target} ({name})" for target, name in found.items()) or "none of them"
    missing = [target for target in ACCURACIES if target not in found]
    spare = [name for name in columns if name not in understood.columns.values() and not ERRORS & {*words(name)}]
    would = ",".join(f"{target}={quoted(spare[i]) if i < len(spare) else 'COLUMN'}" for i, target in enumerate(missing))
    raise ForeignError(
        f"training and validation accuracy are needed, or both losses; found {known} (columns: {', '.join(columns)})",
        hint=f"Say which columns they are, for example: --map {would}",
    )


def _refuse_longer_runs(long: pd.DataFrame, budget: float | None) -> None:
    """Steps beyond the budget that was given: then it is another one."""
    last = float(long["step"].max())
    if budget is not None and last > budget:
        run = long.loc[long["step"] == last, "run_id"].iloc[0]
        raise ForeignError(
            f"--budget {budget:g} lies below the last step, {steps(last)} (run {run!r})",
            hint="It is the number of steps that every run was meant to train; without it the last step is taken, if "
            "all runs end about there.",
        )


def _classes_of(long: pd.DataFrame, settings: ClassifierSettings) -> float | None:
    """From the knob, or a column that has one value."""
    if settings.chance:
        return 1 / settings.chance
    for name, turn in (("classes", 1), ("modulus", 1), ("chance_accuracy", -1)):
        if name in long and (known := pd.to_numeric(long[name], errors="coerce").dropna().unique()).size == 1:
            return float(known[0] ** turn) if known[0] > 0 else None
    return None


def _with_facts(long: pd.DataFrame, classes: float | None, budget: float | None) -> pd.DataFrame:
    """Chance and budget as columns, and a run's constant columns filled where a row lacks them."""
    long = long.sort_values(["run_id", "step"], kind="stable", ignore_index=True)
    gappy = [name for name in long.columns if name not in ("run_id", "step", *METRICS) and long[name].isna().any()]
    if gappy:
        long[gappy] = without_gaps(long[gappy], long["run_id"])
    if classes and "chance_accuracy" not in long:
        long["chance_accuracy"] = 1 / classes
    if "steps" not in long and (meant := budget or _common_end(long)):
        long["steps"] = meant
    return long


def _common_end(long: pd.DataFrame) -> float | None:
    """The last step, if all runs end about there: then it was their budget."""
    ends = long.groupby("run_id")["step"].max()
    return float(ends.max()) if len(ends) and ends.min() >= ABOUT * ends.max() else None
