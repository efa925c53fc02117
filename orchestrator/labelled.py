"""What a sweep's folder already tells of its labels. Apart from what writes them, because that takes scipy and pandas,
and launching a finished sweep again is to cost nothing."""

from collections import Counter
from typing import TYPE_CHECKING

from orchestrator.errors import EXIT_MISSING_INPUT, UserError
from results.classify.explain import PHASE_ORDER
from results.places import Place
from results.store import SweepStore

if TYPE_CHECKING:
    import pandas as pd

    from results.sweep import Sweep


def phases(store: SweepStore) -> Counter[str] | None:
    """Labelled runs by phase; None if a table of runs or labels is not there."""
    from results import tables

    runs, labels = (store.table_path(name) for name in ("runs", "labels"))
    if not (runs.exists() and labels.exists()):
        return None
    return Counter(tables.column(labels, "phase"))


def require_labels(sweep: "Sweep") -> "pd.DataFrame":
    """Raises UserError (66) if there are none."""
    labels = sweep.labels()
    if labels.empty:
        raise UserError(
            f"{sweep.store.root} has no labels yet",
            exit_code=EXIT_MISSING_INPUT,
            hint="Launch it, or if runs have ended: grokctl label DIR.",
        )
    return labels


def in_order(counts: Counter[str] | None) -> dict[str, int]:
    """In the order in which the phases are explained."""
    return {phase: counts[phase] for phase in PHASE_ORDER if phase in counts} if counts else {}


def output_paths(store: SweepStore) -> list[Place]:
    """What there is for the user to open."""
    tables = [store.table_path(name) for name in ("runs", "labels")]
    files = [path for path in (*tables, *store.figures()) if path.exists()]
    return [store.traces, *files] if store.traces.is_dir() else files
