"""The whole way from traces to labels, for a table of runs or for a single trace."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pandas as pd

from results.classify.batch import FloatArray, IntArray, Rows, Trace, make_batches, sort_rows
from results.classify.columns import LABEL_COLUMNS, NOT_CONFIG, RUN_COLUMNS
from results.classify.evidence import Evidence
from results.classify.facts import Facts, gather_facts
from results.classify.measure import (
    above_chance_level,
    declined_level,
    late_gain_level,
    measure,
    memorized_level,
    stalled_level,
)
from results.classify.other_names import huang_dynamic, liu_phase
from results.classify.pass1 import Verdict, decide, steps_between
from results.classify.pass2 import compare_with_neighbours
from results.classify.sentences import explain_run
from results.classify.settings import CLASSIFIER_VERSION, ClassifierSettings

MIN_ROWS = 3
"""Fewer rows say nothing: the least for a median that one row can't decide."""


@dataclass(frozen=True, kw_only=True)
class Label:
    """What the classifier says of one run. Steps and accuracies that were not seen are NaN."""

    phase: str
    confidence: float
    liu_phase: str
    huang_dynamic: str
    t_train: float
    t_train_lo: float
    t_train_hi: float
    t_val: float
    t_val_lo: float
    t_val_hi: float
    delay: float
    t_onset: float
    onset_train_accuracy: float
    peak_val_accuracy: float
    final_train_accuracy: float
    final_val_accuracy: float
    n_surges: float
    norm_change: float
    ungrokking_kind: str
    warning: str
    """Words separated by commas; empty for none."""
    why: str
    classifier_version: str


def classify_trace(trace: Trace, settings: ClassifierSettings | None = None) -> Label:
    """The label of one run taken alone (pass 1)."""
    traces, runs = trace.frames()
    row = label_runs(traces, runs, settings).to_dict("records")[0]
    return Label(**{field.name: row[field.name] for field in fields(Label)})


def label_runs(
    traces: pd.DataFrame, runs: pd.DataFrame | None = None, settings: ClassifierSettings | None = None
) -> pd.DataFrame:
    """One row for each run of `traces` and `runs`, ascending by run_id, with LABEL_COLUMNS and the config columns.

    `traces` has run_id, step and any of the metrics; missing accuracies lead to `undecided`. `runs` has run_id, outcome
    and config columns. Without it the config columns are taken from `traces`; a run whose last row comes before .95 of
    its `steps` has then stopped early, and divergence is read off infinite or vanishing losses.
    Raises ValueError if run_id or step is missing, or a run_id is twice in `runs`.
    """
    return label_sorted(sort_runs(traces, runs), settings or ClassifierSettings())


@dataclass(frozen=True, kw_only=True, eq=False)
class SortedRuns:
    """Traces and hyperparameters of runs, put in order once for any number of labellings."""

    rows: Rows
    config: pd.DataFrame
    """One row a run, in the order of rows.run_ids."""


def sort_runs(traces: pd.DataFrame, runs: pd.DataFrame | None = None) -> SortedRuns:
    """Arguments and errors as those of label_runs."""
    rows = sort_rows(traces)
    config = config_table(rows, traces, runs)
    return SortedRuns(rows=with_runs(rows, config["run_id"].to_numpy(dtype=object)), config=config)


@dataclass(frozen=True, kw_only=True, eq=False)
class Reading:
    """What pass 1 knows of the runs, and what it says."""

    facts: Facts
    evidence: Evidence
    n_measured: IntArray
    """Rows with both accuracies."""
    verdict: Verdict

    def numbers(self, settings: ClassifierSettings) -> dict[str, FloatArray]:
        """Every number that rules or sentences refer to, by name."""
        e, facts = self.evidence, self.facts
        return {
            **{field.name: getattr(e, field.name) for field in fields(Evidence)},
            **{
                name: np.asarray(getattr(facts, name), float)
                for name in ("budget", "last_step", "chance", "n_rows", "n_val")
            },
            "delay": steps_between(e.t_train, e.t_val),
            "above_level": above_chance_level(facts, settings),
            "declined_level": declined_level(facts, settings),
            "late_gain_level": late_gain_level(facts, settings),
            "memorized_level": memorized_level(facts, settings),
            "stalled_level": stalled_level(self.evidence.held_before, facts, settings),
            "n_measured": self.n_measured.astype(float),
        }


def read_runs(sorted_runs: SortedRuns, settings: ClassifierSettings) -> Reading:
    """Pass 1."""
    rows, config = sorted_runs.rows, sorted_runs.config
    facts = gather_facts(rows, config, settings)
    evidence = Evidence.blank(len(config))
    n_measured = np.zeros(len(config), np.int64)
    for batch in make_batches(rows, 1):
        n_measured[batch.index] = len(batch.step_S)
        if len(batch.step_S) >= MIN_ROWS:
            evidence.fill(batch.index, measure(batch, facts.at(batch.index), settings))
    verdict = decide(evidence, facts, n_measured, settings)
    return Reading(facts=facts, evidence=evidence, n_measured=n_measured, verdict=verdict)


def label_sorted(sorted_runs: SortedRuns, settings: ClassifierSettings) -> pd.DataFrame:
    """Both passes; see label_runs."""
    config = sorted_runs.config
    labels = pd.DataFrame(_columns(read_runs(sorted_runs, settings), settings))
    kept = [name for name in config.columns if name not in NOT_CONFIG]
    labels = pd.concat([config[["run_id"]], labels[list(LABEL_COLUMNS)], config[kept]], axis=1)
    return compare_with_neighbours(labels, settings)


def config_table(rows: Rows, traces: pd.DataFrame, runs: pd.DataFrame | None) -> pd.DataFrame:
    """One row a run, ascending by run_id: from `runs`, and from the first row of each trace what `runs` lacks."""
    first = rows.positions[rows.starts[:-1]]
    names = [name for name in traces.columns if name == "run_id" or name not in NOT_CONFIG or name in RUN_COLUMNS]
    table = traces[names].iloc[first].reset_index(drop=True)
    if runs is None:
        return table[["run_id", *constant_columns(rows, traces, table)]]
    if runs["run_id"].duplicated().any():
        raise ValueError("runs has more than one row for the same run_id")
    extra = [name for name in names if name not in runs.columns and name in constant_columns(rows, traces, table)]
    known = runs.merge(table[["run_id", *extra]], on="run_id", how="left") if extra else runs
    unknown = table[~table["run_id"].isin(runs["run_id"])]
    shared = [name for name in known.columns if name in unknown.columns]
    joined = pd.concat([known, unknown[shared]], ignore_index=True) if len(unknown) else known
    return joined.sort_values("run_id", ignore_index=True)


def constant_columns(rows: Rows, traces: pd.DataFrame, table: pd.DataFrame) -> list[str]:
    """Columns that have one value a run: hyperparameters, not further metrics."""
    last = rows.positions[rows.starts[1:] - 1]
    names = [name for name in table.columns if name != "run_id"]
    return [name for name in names if _same(traces[name].iloc[last], table[name])]


def _same(a: pd.Series, b: pd.Series) -> bool:
    left, right = a.reset_index(drop=True), b
    return bool(((left == right) | (left.isna() & right.isna())).all())


def with_runs(rows: Rows, run_ids: np.ndarray[Any, Any]) -> Rows:
    """The same rows for a longer list of runs, also ascending: those without a row get none."""
    place = np.searchsorted(run_ids, rows.run_ids)
    n_rows = np.zeros(len(run_ids), np.int64)
    n_rows[place] = np.diff(rows.starts)
    starts = np.concatenate([[0], np.cumsum(n_rows)])
    return Rows(run_ids=run_ids, starts=starts, positions=rows.positions, step=rows.step, metrics=rows.metrics)


def _columns(reading: Reading, settings: ClassifierSettings) -> dict[str, Any]:
    e, verdict, numbers = reading.evidence, reading.verdict, reading.numbers(settings)
    n_runs = len(verdict.phase)
    phase_alone = np.where(verdict.before_divergence == "", verdict.phase, "diverged")
    read_off = {name: getattr(e, name) for name in LABEL_COLUMNS if hasattr(e, name)}
    return {
        **read_off,
        "phase": verdict.phase,
        "confidence": verdict.confidence,
        "liu_phase": liu_phase(e, reading.facts, settings),
        "huang_dynamic": huang_dynamic(phase_alone, e),
        "delay": numbers["delay"],
        "ungrokking_kind": np.where(verdict.phase == "ungrokking", verdict.rule, ""),
        "pass": np.ones(n_runs, np.int64),
        "neighbours": np.full(n_runs, "", object),
        "warning": _warnings(verdict),
        "why": _sentences(numbers, verdict, reading.facts, settings),
        "classifier_version": np.full(n_runs, CLASSIFIER_VERSION, object),
        "thresholds": np.full(n_runs, settings.model_dump_json(), object),
    }


def _warnings(verdict: Verdict) -> list[str]:
    words: list[list[str]] = [[f"was_{before}"] if before else [] for before in verdict.before_divergence]
    for flag, holds in verdict.flags.items():
        for run in np.flatnonzero(holds):
            words[run].append(flag)
    return [",".join(each) for each in words]


def _sentences(numbers: dict[str, Any], verdict: Verdict, facts: Facts, settings: ClassifierSettings) -> list[str]:
    names = list(numbers)
    per_run = zip(*(values.tolist() for values in numbers.values()), strict=True)
    return [
        explain_run(rule, dict(zip(names, values, strict=True)), settings, before, bool(failed))
        for values, rule, before, failed in zip(
            per_run, verdict.rule, verdict.before_divergence, facts.failed, strict=True
        )
    ]
