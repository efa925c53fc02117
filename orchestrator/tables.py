"""What a launch leaves behind when the training is over: tables of runs and labels, and the phase diagram.

All of it is made from the store, finished or not, so a sweep that was interrupted has a diagram of what it knows.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from orchestrator.columns import config_rows
from orchestrator.plan import Plan, PlannedPack
from results.classify import ClassifierSettings, label_runs
from results.errors import StorageError
from results.places import Place
from results.schema import trace_schema
from results.store import SweepStore
from results.sweep import Sweep

DIAGRAMS = ("phase_diagram.png", "phase_diagram.svg")


def write_tables(store: SweepStore, plan: Plan) -> None:
    """Write runs.parquet, and if runs have ended the diagram and labels.parquet, the last of all."""
    store.write_runs(pa.concat_tables([_runs_of(store, pack, plan) for pack in plan.packs]))
    sweep = Sweep(store)
    labels = label_ended(sweep, ClassifierSettings.from_mapping(plan.classifier))
    axes = diagram_axes(plan)
    try:
        if len(labels) and axes:
            draw_labels(sweep, labels, axes, [store.figure_path(name) for name in DIAGRAMS])
    except (OSError, StorageError):
        raise  # room for the next launch to do both
    except Exception:
        store.write_labels(labels)  # no launch will draw these
        raise
    store.write_labels(labels)


def label_ended(sweep: Sweep, settings: ClassifierSettings) -> pd.DataFrame:
    """Labels of all runs that have ended."""
    return label_runs(*ended(sweep), settings)


def ended(sweep: Sweep) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Traces and runs tables of the runs that have ended.

    Traces have the metrics that the classifier reads and nothing else. A further metric that is the same throughout
    each run would pass for a hyperparameter; hyperparameters, which stand in every row, would take most of the time and
    of the memory (a million rows: 7.7 s and .7 GB, without them 1.7 s and .15 GB). While the first launch is at work,
    columns that are derived (chance_accuracy, ...) stand in the traces alone, and come from each run's first row.
    """
    dataset = sweep.traces_dataset(include_running=False)
    traces = sweep.frame_of(dataset, trace_schema([]).names)
    first = traces.drop_duplicates("run_id")
    runs = sweep.runs()
    runs = runs[runs["run_id"].isin(first["run_id"])]
    missing = [name for name in sweep.plan["columns"] if runs[name].isna().all()]
    if not missing:
        return traces, runs
    at_first = pc.field("step").isin(pa.array(first["step"].unique()))
    config = sweep.frame_of(dataset, ["run_id", *missing], at_first).drop_duplicates("run_id").set_index("run_id")
    return traces, runs.assign(**{name: runs["run_id"].map(config[name]) for name in missing})


def draw_labels(sweep: Sweep, labels: pd.DataFrame, axes: Mapping[str, Any], paths: Iterable[Place]) -> None:
    """The phase diagram over these axes (`x`, `y`, `facet`). Raises ValueError for what is no column or no picture."""
    from results.diagram import phase_diagram
    from results.style import save

    scales = {name: axis["scale"] for name, axis in sweep.plan["axes"].items()}
    figure = phase_diagram(labels, **axes, scales=scales, title=sweep.plan["name"], remark=remark_on(sweep, labels))
    for path in paths:
        save(figure, path)


def remark_on(sweep: Sweep, labels: pd.DataFrame) -> str:
    """How much these labels hang on the thresholds, if `grokctl label --sensitivity` has measured it for them."""
    from results.classify.sensitivity import sensitivity_note

    measured = sweep.sensitivity()
    if measured.empty or int(measured["n_runs"].iloc[0]) != len(labels):
        return ""
    under = ["classifier_version", "thresholds"]
    is_theirs = labels[under].eq(measured[under].iloc[0]).all(axis=None)
    return sensitivity_note(measured) if is_theirs else ""


def _runs_of(store: SweepStore, pack: PlannedPack, plan: Plan) -> pa.Table:
    """The pack's rows of runs.parquet: null where a run has not ended."""
    stored = store.pack(pack.pack_id)
    ends = {run.run_id: run for run in stored.outcomes()}
    failure = stored.failure()
    missing = "failed" if failure and not failure.is_pause and not stored.is_done() else None
    table = config_rows(pack.run_ids, pack.configs(), plan.columns)
    runs = [ends.get(run_id) for run_id in pack.run_ids]
    ended: dict[str, pa.Array] = {
        "pack_id": pa.array([pack.pack_id] * pack.n_runs),
        "outcome": pa.array([run.outcome if run else missing for run in runs], pa.string()),
        "stopped_at": pa.array([run.stopped_at if run else None for run in runs], pa.int64()),
        "wall_s": pa.array([run.wall_s if run else None for run in runs], pa.float64()),
    }
    for name, values in ended.items():
        table = table.append_column(name, values)
    return table


def diagram_axes(plan: Plan) -> Mapping[str, Any] | None:
    """The axes that the spec names, else the two with most values (the longer across); None with fewer than two."""
    if plan.diagram:
        return plan.diagram
    lengths = {name: len(axis["values"]) for name, axis in plan.axes.items() if name != "seed"}
    longest = sorted((name for name in lengths if lengths[name] > 1), key=lambda name: -lengths[name])
    return {"x": longest[0], "y": longest[1], "facet": None} if len(longest) > 1 else None
