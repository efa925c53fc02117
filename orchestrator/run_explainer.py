"""What `grokctl explain DIR RUN_ID` tells: a page of text and, if asked for, a picture. Needs no torch."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from orchestrator.errors import EXIT_MISSING_INPUT, EXIT_USAGE, UserError
from orchestrator.relabel import settings_under
from orchestrator.run_ids import find_run
from results.classify import CLASSIFIER_VERSION, ClassifierSettings
from results.classify.examine import Examination, examine, neighbours_of
from results.classify.table import SortedRuns, sort_runs
from results.classify.what_if import by_budget, smallest_changes
from results.run_page import run_page
from results.sweep import Sweep


@dataclass(frozen=True, kw_only=True)
class RunExplained:
    """A run's label with everything that it was read off."""

    examination: Examination
    sorted_runs: SortedRuns
    """The run and its neighbours."""
    trace: pd.DataFrame
    shown: Mapping[str, Any]
    """The hyperparameters in which runs of the sweep differ."""
    stored: Mapping[str, Any] | None
    """The run's row of labels.parquet."""

    def page(self) -> str:
        run_id, settings = self.examination.label["run_id"], self.examination.settings
        changes = smallest_changes(self.sorted_runs, run_id, settings)
        stretches = by_budget(self.sorted_runs, run_id, settings)
        page = run_page(self.examination, self.sorted_runs, changes, stretches, self.shown)
        return page + "".join(f"\n{line}" for line in _remarks(self))

    def draw(self, path: Path) -> None:
        """Raises UserError for a suffix that is no picture."""
        from results.run_figure import run_figure
        from results.style import save

        shown = ", ".join(f"{name} {value}" for name, value in self.shown.items())
        try:
            save(run_figure(self.trace, self.examination.label, self.examination.numbers, shown), path)
        except ValueError as error:
            raise UserError(str(error), exit_code=EXIT_USAGE) from error


def explain_run(sweep: Sweep, prefix: str, overrides: Mapping[str, str]) -> RunExplained:
    """The run whose id begins with `prefix`, under the thresholds that its stored label carries, but for `overrides`.

    Raises UserError if no run or more than one is called so, or if it has no trace yet.
    """
    runs = sweep.runs()
    run_id = find_run(runs["run_id"], prefix)
    labels = sweep.labels(run_id=run_id).to_dict("records")
    group = neighbours_of(runs, run_id)
    traces = sweep.traces(run_id=group).sort_values(["run_id", "step"], ignore_index=True)
    own = traces[traces["run_id"] == run_id]
    if own.empty:
        raise UserError(
            f"run {run_id} has no trace yet", exit_code=EXIT_MISSING_INPUT, hint="It has not been evaluated."
        )
    ended = runs["run_id"].isin(traces["run_id"].unique())
    sorted_runs = sort_runs(traces, runs[runs["run_id"].isin(group) & ended])
    return RunExplained(
        examination=examine(sorted_runs, run_id, _settings(sweep, labels, overrides)),
        sorted_runs=sorted_runs,
        trace=own,
        shown=_shown(sweep, runs[runs["run_id"] == run_id].iloc[0]),
        stored={str(name): value for name, value in labels[0].items()} if labels else None,
    )


def _settings(sweep: Sweep, labels: list[dict[Any, Any]], overrides: Mapping[str, str]) -> ClassifierSettings:
    """The thresholds of the stored label, where there is one and its knobs are still known."""
    usual = settings_under(sweep.plan["classifier"], overrides)
    if overrides or not labels:
        return usual
    try:
        return ClassifierSettings.from_mapping(json.loads(labels[0]["thresholds"]))
    except ValueError:
        return usual


def _shown(sweep: Sweep, run: pd.Series) -> dict[str, Any]:
    names = [name for name in [*sweep.plan["axes"], "seed"] if name in run.index]
    return {name: _plain(run[name]) for name in dict.fromkeys(names)}


def _plain(value: Any) -> Any:
    return f"{value:g}" if isinstance(value, float) else value


def _remarks(explained: RunExplained) -> list[str]:
    """Where the stored label says something else."""
    stored, phase = explained.stored, explained.examination.label["phase"]
    if stored is None:
        return ["It is not labelled yet: the run goes on, or `grokctl label DIR` was not run."]
    if stored["phase"] == phase:
        return []
    version = stored["classifier_version"]
    why = "other thresholds" if version == CLASSIFIER_VERSION else f"version {version} of the classifier"
    return [f"The stored label is {stored['phase']}: {why}. `grokctl label DIR` labels the sweep again."]
