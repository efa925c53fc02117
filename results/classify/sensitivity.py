"""How much the labels of a sweep hang on each threshold: the share that flips when one knob moves by a quarter.

A phase diagram looks as certain as its colours. Whether its borders are facts about the networks or about 0.9 and 1,000
steps can be computed, so it is: every knob is moved down and up alone, and all runs are labelled again, both passes.
"""

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd

from results.classify.settings import CLASSIFIER_VERSION, ClassifierSettings, movable_knobs, moved
from results.classify.table import SortedRuns, label_sorted

SHARE = 0.25

COLUMNS = (
    "knob", "value", "low", "high", "flips_low", "flips_high", "move", "n_runs", "classifier_version", "thresholds",
)  # fmt: skip
NAMED = 2
"""Knobs that a note names."""


def sensitivity(
    sorted_runs: SortedRuns,
    settings: ClassifierSettings,
    share: float = SHARE,
) -> pd.DataFrame:
    """One row a knob, the one that flips most labels first: its value, the values moved to (a knob stays within its
    range; NaN where it can't move, or would contradict another), the share of runs whose phase each flips, and the
    commonest flip in words."""
    usual = label_sorted(sorted_runs, settings)
    phases = usual["phase"].to_numpy(dtype=object)
    rows = [_row(name, sorted_runs, settings, phases, share) for name in movable_knobs(settings)]
    table = pd.DataFrame(rows).assign(
        n_runs=len(phases),
        classifier_version=CLASSIFIER_VERSION,
        thresholds=settings.model_dump_json(),
    )
    most = table[["flips_low", "flips_high"]].max(axis=1)
    return table.loc[most.sort_values(ascending=False, kind="stable").index, list(COLUMNS)].reset_index(drop=True)


def _row(
    name: str, sorted_runs: SortedRuns, settings: ClassifierSettings, phases: np.ndarray[Any, Any], share: float
) -> dict[str, Any]:
    row: dict[str, Any] = {"knob": name, "value": float(getattr(settings, name))}
    moves: Counter[tuple[str, str]] = Counter()
    for side, signed in (("low", -share), ("high", share)):
        other = moved(settings, name, signed)
        after = phases if other is None else label_sorted(sorted_runs, other)["phase"].to_numpy(dtype=object)
        row[side] = np.nan if other is None else float(getattr(other, name))
        row[f"flips_{side}"] = float(np.mean(after != phases))
        moves.update((a, b) for a, b in zip(phases, after, strict=True) if a != b)
    return row | {"move": " -> ".join(moves.most_common(1)[0][0]) if moves else ""}


def sensitivity_text(table: pd.DataFrame, share: float = SHARE) -> str:
    """The table as text, without the knobs that flip nothing."""
    most = table[["flips_low", "flips_high"]].max(axis=1)
    felt = table[most > 0]
    n_runs = int(table["n_runs"].iloc[0])
    lines = [f"Share of {n_runs:,} labels that change when one knob moves by {share:.0%}, down and up:"]
    if len(felt):
        lines.append(f"{'knob':<22} {'value':>8} {'down to':>9} {'flips':>7} {'up to':>9} {'flips':>7}  commonest")
    for row in felt.itertuples():
        sides = f"{_side(row.low, row.flips_low)} {_side(row.high, row.flips_high)}"
        lines.append(f"{row.knob:<22} {row.value:>8.4g} {sides}  {row.move}")
    is_stuck = table["low"].isna() & table["high"].isna()
    still, stuck = table.loc[(most == 0) & ~is_stuck, "knob"].tolist(), table.loc[is_stuck, "knob"].tolist()
    lines += [f"No label hangs on: {', '.join(still)}."] if still else []
    lines += [f"Not moved, for other knobs allow no move so far: {', '.join(stuck)}."] if stuck else []
    return "\n".join(lines)


def _side(value: Any, flips: Any) -> str:
    return f"{'-':>9} {'-':>7}" if np.isnan(value) else f"{value:>9.4g} {flips:>7.1%}"


def sensitivity_note(table: pd.DataFrame, share: float = SHARE) -> str:
    """For the reader of a figure, one clause."""
    most = table.set_index("knob")[["flips_low", "flips_high"]].max(axis=1).sort_values(ascending=False, kind="stable")
    named = [f"{knob} {flips:.0%}" for knob, flips in most.iloc[:NAMED].items() if flips > 0]
    if not named:
        return f"no label changes if one threshold moves by ±{share:.0%}"
    others = most.iloc[len(named) :]
    rest = f", every other at most {others.max():.0%}" if len(others) else ""
    return f"labels that change if one threshold moves by ±{share:.0%}: {', '.join(named)}{rest}"
