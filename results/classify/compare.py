"""What changes between two labellings of the same runs: which labels, and the evidence behind each change."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from results.classify.sentences import acc, steps

STEPS = {
    "t_train": "training accuracy holds its level",
    "t_val": "validation accuracy holds its level",
    "t_onset": "validation leaves chance",
}
LEVELS = {
    "onset_train_accuracy": "training accuracy there",
    "peak_val_accuracy": "the most that validation holds",
    "final_train_accuracy": "training accuracy ends at",
    "final_val_accuracy": "validation accuracy ends at",
    "norm_change": "change of the norm",
}
SMALL = 5e-4
"""Accuracies are shown to three digits; what differs by less is not told."""


def changes(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """The runs whose phase is another one: run_id, before, after, differs (the evidence, in a sentence), why (that of
    the new label). Runs that only one of the tables has are left out."""
    shared = [name for name in after.columns if name in before.columns and name != "run_id"]
    both = before[["run_id", *shared]].merge(after[["run_id", *shared]], on="run_id", suffixes=("_before", ""))
    changed = both[both["phase_before"] != both["phase"]]
    rows: list[dict[str, Any]] = [
        {str(name): value for name, value in row.items()} for row in changed.to_dict("records")
    ]
    return pd.DataFrame(
        [
            {
                "run_id": row["run_id"],
                "before": row["phase_before"],
                "after": row["phase"],
                "differs": differences(row),
                "why": row["why"],
            }
            for row in rows
        ],
        columns=["run_id", "before", "after", "differs", "why"],
    )


def differences(row: Mapping[str, Any]) -> str:
    """`row` has each column twice, the earlier one with `_before` behind its name. One sentence."""
    told = list(_differences(row))
    if not told:
        return "The evidence is the same; it is judged otherwise."
    sentence = "; ".join(told)
    return f"{sentence[0].upper()}{sentence[1:]}."


def _differences(row: Mapping[str, Any]) -> Iterator[str]:
    for name, words in STEPS.items():
        old, new = (_step(row.get(key)) for key in (f"{name}_before", name))
        if old != new:
            yield f"{words}: {new}, before: {old}"
    for name, words in LEVELS.items():
        old_level, new_level = row.get(f"{name}_before"), row.get(name)
        if _is_other(old_level, new_level):
            yield f"{words}: {_level(new_level)}, before: {_level(old_level)}"
    old_witnesses, new_witnesses = (_count(row.get(key)) for key in ("neighbours_before", "neighbours"))
    if old_witnesses != new_witnesses:
        yield f"neighbours that show a critical size: {new_witnesses}, before: {old_witnesses}"
    flags = {key: set(str(row.get(key) or "").split(",")) - {""} for key in ("warning_before", "warning")}
    if gained := flags["warning"] - flags["warning_before"]:
        yield f"now warned of as {', '.join(sorted(gained))}"
    if lost := flags["warning_before"] - flags["warning"]:
        yield f"no more warned of as {', '.join(sorted(lost))}"


def knobs_that_differ(before: pd.DataFrame, after: pd.DataFrame) -> list[str]:
    """`theta 0.9 -> 0.95` for each threshold, `classifier version 1 -> 2` if that differs; read off the first rows."""
    if before.empty or after.empty:
        return []
    old, new = (json.loads(table["thresholds"].iloc[0]) for table in (before, after))
    told = [f"{name} {_knob(old.get(name))} -> {_knob(new.get(name))}" for name in new if old.get(name) != new[name]]
    versions = [str(table["classifier_version"].iloc[0]) for table in (before, after)]
    return told if versions[0] == versions[1] else [f"classifier version {versions[0]} -> {versions[1]}", *told]


def _knob(value: Any) -> str:
    return "absent" if value is None else f"{value:g}" if isinstance(value, float) else str(value).lower()


def _step(value: Any) -> str:
    return "never" if value is None or value != value else f"step {steps(float(value))}"


def _level(value: Any) -> str:
    return "unknown" if value is None or value != value else acc(float(value))


def _is_other(old: Any, new: Any) -> bool:
    if _level(old) == "unknown" or _level(new) == "unknown":
        return _level(old) != _level(new)
    return abs(float(old) - float(new)) >= SMALL


def _count(neighbours: Any) -> int:
    return len([each for each in str(neighbours or "").split(",") if each])
