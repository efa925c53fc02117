"""`grokctl critical`: read the folders, ask `results.critical`, write table and figures. Needs no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from orchestrator.errors import EXIT_CONFLICT, EXIT_USAGE, UserError
from orchestrator.labelled import require_labels
from results.critical.findings import Findings, Question, check_question, find
from results.critical.memory import RandomLabels, differences
from results.critical.settings import CriticalSettings
from results.critical.sizes import SIZE
from results.critical.table import critical_table
from results.places import Place
from results.sweep import Sweep, open_sweep

TRACE_COLUMNS = ("run_id", "step", "train_accuracy", "val_accuracy", "val_loss")


@dataclass(frozen=True, kw_only=True)
class Critical:
    """What was found and written."""

    found: Sequence[Findings]
    written: Sequence[Place]
    warnings: Sequence[str]


def critical(folder: Place, others: Sequence[Place], question: Question) -> Critical:
    """Critical sizes of the sweep in `folder`, of more runs of the same question and of random labels in `others`.

    Writes critical.parquet and figures into `folder`. Raises UserError if the runs cannot answer, if those of another
    folder were trained or labelled otherwise (it says in what), and if a folder has no labels.
    """
    sweep = open_sweep(folder)
    labels, traces, axes = require_labels(sweep), read_traces(sweep), list(sweep.plan["axes"])
    random: tuple[pd.DataFrame, pd.DataFrame] | None = None
    warnings: list[str] = []
    for other in map(open_sweep, others):
        more = require_labels(other)
        _refuse_other_training(labels, more, question, sweep, other)
        axes = list(dict.fromkeys([*axes, *other.plan["axes"]]))
        if set(more["task_kind"]) != {"random_labels"}:
            labels, traces = _joined(labels, more), _joined(traces, read_traces(other))
            continue
        if random is not None:
            raise UserError(f"{other.store.root} is a second sweep of random labels", hint="Give one of them.")
        symmetric = _settings(more, other).set_index("run_id")["symmetric"]
        random = more.assign(symmetric=more["run_id"].map(symmetric).astype(bool)), read_traces(other)
        if not symmetric.all():
            warnings.append("the random labels are not symmetric: for a commutative task D_mem is too small")
    try:
        check_question(labels, question, axes)
    except ValueError as error:
        raise UserError(str(error), exit_code=EXIT_USAGE) from error
    settings = CriticalSettings()
    read = RandomLabels.read(*random, settings) if random else None
    found = find(labels, traces, question, random=read, settings=settings)
    with sweep.store.lock():
        written = [sweep.store.write_critical(critical_table(found, settings)), *_draw(sweep, found)]
    return Critical(found=found, written=written, warnings=warnings)


def read_traces(sweep: Sweep) -> pd.DataFrame:
    return sweep.traces(list(TRACE_COLUMNS), include_running=False)


def _joined(one: pd.DataFrame, more: pd.DataFrame) -> pd.DataFrame:
    """Rows of both; a run that both sweeps trained counts once."""
    return pd.concat([one, more[~more["run_id"].isin(one["run_id"])]], ignore_index=True)


def _refuse_other_training(
    labels: pd.DataFrame, more: pd.DataFrame, question: Question, sweep: Sweep, other: Sweep
) -> None:
    where = f"{other.store.root} beside {sweep.store.root}"
    for name in ("classifier_version", "thresholds"):
        if set(labels[name]) != set(more[name]):
            raise UserError(
                f"{where} is labelled otherwise (another {name.replace('_', ' ')})",
                exit_code=EXIT_CONFLICT,
                hint="Label both again: grokctl label DIR.",
            )
    if question.axis not in labels.columns or question.axis not in more.columns:
        return  # check_question says so
    is_random = set(more["task_kind"]) == {"random_labels"}
    task = [] if is_random or set(labels["task"]) == set(more["task"]) else ["task"]
    ignore = frozenset([question.facet] if question.facet else [])
    found = [*task, *differences(_settings(labels, sweep), _settings(more, other), question.axis, ignore)]
    if found:
        raise UserError(
            f"{where} was trained otherwise: {'; '.join(found)}",
            exit_code=EXIT_CONFLICT,
            hint="Critical sizes compare runs of the same training and budget only.",
        )


def _settings(labels: pd.DataFrame, sweep: Sweep) -> pd.DataFrame:
    """Of the labelled runs."""
    planned = sweep.settings()
    return planned[planned["run_id"].isin(labels["run_id"])]


def _draw(sweep: Sweep, found: Sequence[Findings]) -> list[Place]:
    """Zone map, curves and descents, for each value of the facet."""
    from results.axes import label_of
    from results.critical_figure import critical_figure
    from results.descent_figure import descent_figure
    from results.style import save
    from results.zone_figure import zone_map

    written = []
    for findings in found:
        if findings.curves is None:
            continue
        facet = findings.question.facet
        at = f"_{facet}_{label_of(findings.facet_value)}".replace(" ", "") if facet else ""
        title = f"{sweep.plan['name']}{', ' + facet + ' = ' + label_of(findings.facet_value) if facet else ''}"
        axis, table = findings.question.axis, findings.modelwise
        scales = {axis: "log", SIZE: "linear"}
        figures: dict[str, Any] = {
            "zone_map": zone_map(findings, title=title),
            "critical_sizes": critical_figure(findings, title=title),
        }
        for value in table["value"].unique():
            of_value = table[table["value"] == value]
            figures[f"descent_{value.removeprefix('final_')}"] = descent_figure(
                findings.labels, of_value, axis=axis, facet=SIZE, scales=scales, title=title
            )
        for name, figure in figures.items():
            path = sweep.store.figure_path(_file_name(f"{name}{at}.png"))
            save(figure, path)
            written.append(path)
    return written


def _file_name(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in name)
