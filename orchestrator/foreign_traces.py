"""`grokctl label TRACES`: labels for traces that another tool logged. Needs no torch, and writes nothing unasked."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from orchestrator.errors import EXIT_BAD_DATA, EXIT_USAGE, UserError
from orchestrator.relabel import SHOWN, changes_text, phases_text
from results.classify import ClassifierSettings
from results.classify.columns import NOT_CONFIG, VARIES_AMONG_NEIGHBOURS
from results.classify.sensitivity import sensitivity
from results.foreign import Foreign, ForeignError, read_foreign


def read(
    paths: Sequence[Path],
    given: Mapping[str, str],
    classes: float | None,
    budget: float | None,
    settings: ClassifierSettings,
) -> Foreign:
    """Raises UserError (65) for what cannot be understood, with what would do."""
    if classes is not None and not classes > 1:
        raise UserError(f"--classes takes a number above 1, not {classes:g}", exit_code=EXIT_USAGE)
    if budget is not None and not budget > 0:
        raise UserError(f"--budget takes a number of steps, not {budget:g}", exit_code=EXIT_USAGE)
    try:
        return read_foreign(paths, given=given, classes=classes, budget=budget, settings=settings)
    except ForeignError as error:
        raise UserError(str(error), exit_code=EXIT_BAD_DATA, hint=error.hint or None) from error


def compare_text(foreign: Foreign, labels: pd.DataFrame) -> str:
    """Against the labels under the usual thresholds. Raises UserError for crossing times, which have one label only."""
    if foreign.traces is None:
        raise UserError("--compare takes traces, not a table of crossing times", exit_code=EXIT_USAGE)
    return changes_text(foreign.label(ClassifierSettings()), labels)


def measure(foreign: Foreign, settings: ClassifierSettings) -> pd.DataFrame:
    """Sensitivity of the labels. Raises UserError for crossing times."""
    if foreign.traces is None:
        raise UserError("--sensitivity takes traces, not a table of crossing times", exit_code=EXIT_USAGE)
    return sensitivity(foreign.sorted_runs(), settings)


def summary(foreign: Foreign, labels: pd.DataFrame) -> str:
    """What was understood, what came out, and the first runs with their reasons."""
    understood = foreign.understood
    named = ", ".join(f"{target}={column}" for target, column in understood.columns.items())
    lines = [f"read as: {understood.shape} ({named})"]
    lines += [f"note: {remark}" for remark in understood.remarks]
    phase = "phase" if "phase" in labels else "liu_phase"
    counts = phases_text(labels.rename(columns={phase: "phase"}))
    lines.append(f"{len(labels):,} runs: {counts}" + (" (by Liu et al.'s rule)" if phase == "liu_phase" else ""))
    if foreign.traces is not None:
        lines.append(f"note: {neighbours_remark(labels)}")
        if labels["warning"].astype(str).str.contains("chance_unknown").any():
            lines.append("note: chance is not known and was taken for 0: --classes K says it")
    lines += [f"{row['run_id']}  {row[phase]}: {row['why']}" for row in labels.head(SHOWN).to_dict("records")]
    if len(labels) > SHOWN:
        lines.append(f"and {len(labels) - SHOWN:,} more")
    return "\n".join(lines)


def neighbours_remark(labels: pd.DataFrame) -> str:
    """Whether pass 2 had what it takes."""
    if "train_size" not in labels or not labels["train_size"].notna().any():
        return "runs were not compared with neighbours: that takes a column train_size (--map train_size=COLUMN)"
    if labels["train_size"].nunique() < 2:
        return "runs were not compared with neighbours: all have the same train_size"
    names = [str(c) for c in labels if c not in NOT_CONFIG and c not in VARIES_AMONG_NEIGHBOURS]
    equal = f"agree in {', '.join(names)}" if names else "no column tells apart otherwise"
    return f"runs were compared with neighbours: those of another train_size that {equal}"
