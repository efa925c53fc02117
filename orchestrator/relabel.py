"""Label and draw a sweep again with other settings, from its folder alone. Needs no torch."""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from orchestrator.errors import EXIT_CONFLICT, EXIT_MISSING_INPUT, EXIT_USAGE, UserError
from orchestrator.labelled import require_labels
from orchestrator.plan import Plan
from orchestrator.tables import DIAGRAMS, diagram_axes, draw_labels, ended, label_ended
from results import durable, tables
from results.classify import ClassifierSettings
from results.classify.compare import changes, knobs_that_differ
from results.classify.sensitivity import sensitivity
from results.classify.table import sort_runs
from results.places import Place
from results.schema import labels_schema
from results.sweep import Sweep

PREFIX = "classifier."
SHOWN = 20


def settings_under(knobs: Mapping[str, Any], overrides: Mapping[str, str]) -> ClassifierSettings:
    """These knobs, but for `overrides` (`{"classifier.theta": "0.95"}`). Raises UserError for what is no knob."""
    strangers = [name for name in overrides if not name.startswith(PREFIX)]
    if strangers:
        raise UserError(f"label takes --set {PREFIX}NAME=VALUE only, not {strangers[0]!r}", exit_code=EXIT_USAGE)
    changed = {name.removeprefix(PREFIX): value for name, value in overrides.items()}
    try:
        return ClassifierSettings.from_mapping({**knobs, **changed})
    except ValueError as error:
        raise UserError(str(error), exit_code=EXIT_USAGE) from error


def relabel(sweep: Sweep, settings: ClassifierSettings) -> pd.DataFrame:
    """Labels of all runs that have ended. Raises UserError (66) if none has."""
    labels = label_ended(sweep, settings)
    if labels.empty:
        raise UserError(f"no run of {sweep.store.root} has ended yet", exit_code=EXIT_MISSING_INPUT)
    return labels


def changes_text(before: pd.DataFrame, after: pd.DataFrame) -> str:
    """How many runs went from which phase to which, under which thresholds, and for the first of them what differs."""
    changed = changes(before, after)
    knobs = knobs_that_differ(before, after)
    under = f" ({', '.join(knobs)})" if knobs else ""
    lines = [f"{len(changed):,} of {len(after):,} runs change their phase{under}"]
    moves = Counter(zip(changed["before"], changed["after"], strict=True))
    lines += [f"{count:>8,}  {old} -> {new}" for (old, new), count in moves.most_common()]
    rows = changed.head(SHOWN).to_dict("records")
    lines += [f"{row['run_id']}  {row['before']} -> {row['after']}: {row['differs']} {row['why']}" for row in rows]
    if len(changed) > len(rows):
        lines.append(f"and {len(changed) - len(rows):,} more")
    return "\n".join(lines)


def phases_text(labels: pd.DataFrame) -> str:
    """`grokking 12, confusion 3`, most frequent first."""
    return ", ".join(f"{phase} {count:,}" for phase, count in labels["phase"].value_counts().items())


def check_target(path: Path) -> None:
    """Before the work that `write_table` is to keep. Raises UserError for another suffix, and without its folder."""
    if path.suffix not in (".parquet", ".csv"):
        raise UserError(f"{path.name}: a table is written as .parquet or .csv", exit_code=EXIT_USAGE)
    if not path.parent.is_dir():
        raise UserError(
            f"{path}: there is no folder {path.parent}", exit_code=EXIT_MISSING_INPUT, hint="Make it first."
        )
    if path.is_dir():
        raise UserError(f"{path}: that is a folder", exit_code=EXIT_CONFLICT, hint="Give the name of a file.")


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Write a table as Parquet or CSV by its suffix, at one instant. Raises UserError as `check_target` does."""
    check_target(path)
    if path.suffix == ".csv":
        data = frame.to_csv(index=False).encode()
    else:
        import pyarrow as pa

        data = tables.encode(pa.Table.from_pandas(frame, preserve_index=False))
    durable.replace_file(path, data, tag=durable.process_tag())


def measure_sensitivity(sweep: Sweep, settings: ClassifierSettings) -> pd.DataFrame:
    """How the labels of all ended runs hang on each knob. Raises UserError (66) if no run has ended."""
    traces, runs = ended(sweep)
    if traces.empty:
        raise UserError(f"no run of {sweep.store.root} has ended yet", exit_code=EXIT_MISSING_INPUT)
    return sensitivity(sort_runs(traces, runs), settings)


def store_labels(sweep: Sweep, labels: pd.DataFrame, measured: pd.DataFrame | None = None) -> list[Place]:
    """Replace the sweep's labels, and what was `measured` of their sensitivity, and draw its diagram again if it has
    one; what was written."""
    written = [sweep.store.table_path("labels")]
    with sweep.store.lock():
        sweep.store.write_labels(labels)
        if measured is not None:
            sweep.store.write_sensitivity(measured)
            written.append(sweep.store.table_path("sensitivity"))
        for path in sweep.store.figures():
            if path.name in DIAGRAMS:
                draw(sweep, path, **axes_of(sweep))
                written.append(path)
    return written


def draw(sweep: Sweep, path: Place, *, x: str, y: str | None, facet: str | None) -> None:
    """Draw the sweep's labels. Raises UserError without labels, for what is no column and for an unknown suffix."""
    labels = require_labels(sweep)
    try:
        draw_labels(sweep, labels, {"x": x, "y": y, "facet": facet}, [path])
    except ValueError as error:
        raise UserError(str(error), exit_code=EXIT_USAGE) from error


def axes_of(sweep: Sweep, *, x: str | None = None, y: str | None = None, facet: str | None = None) -> dict[str, Any]:
    """Axes of the diagram: those given, filled up from the spec's, or else from the two with the most values."""
    known = labels_schema(sweep.plan["columns"]).names
    for name in filter(None, (x, y, facet)):
        if name not in known:
            hint = f"The columns are {', '.join(sweep.plan['columns'])}, and those of the labels."
            raise UserError(f"{name!r} is no column of this sweep", exit_code=EXIT_USAGE, hint=hint)
    usual = diagram_axes(Plan.from_json(sweep.plan)) or {}
    across, up = usual.get("x"), usual.get("y")
    x = x or _first(name for name in (across, up) if name != y)
    y = y or _first(name for name in (up, across) if name != x)
    if x is None:
        raise UserError("this sweep has fewer than two axes", exit_code=EXIT_USAGE, hint="Say with --x what to draw.")
    return {"x": x, "y": y, "facet": facet or _first(name for name in (usual.get("facet"),) if name not in (x, y))}


def _first(names: Iterable[str | None]) -> str | None:
    return next((name for name in names if name), None)
