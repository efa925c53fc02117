"""Traces as arrays. Runs that were evaluated at the same steps are stacked, so that every later reading is one numpy
expression for hundreds of runs; a sweep with one evaluation schedule is a handful of batches.

Shapes: R runs of a batch, S rows (evaluations) each.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

METRICS = ("train_loss", "val_loss", "train_accuracy", "val_accuracy", "param_norm")
MAX_RUNS = 512
"""Runs in one batch: their arrays of some 500 rows stay near the processor's cache."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Trace:
    """One run for `classify_trace`. Arrays have one entry for each evaluation; what is not known stays None."""

    step: npt.ArrayLike
    train_accuracy: npt.ArrayLike | None = None
    val_accuracy: npt.ArrayLike | None = None
    train_loss: npt.ArrayLike | None = None
    val_loss: npt.ArrayLike | None = None
    param_norm: npt.ArrayLike | None = None
    steps: int | None = None
    """The budget; None: the last row."""
    outcome: str | None = None
    """ended, stopped or diverged, if known."""
    chance_accuracy: float | None = None
    train_size: int | None = None
    val_size: int | None = None
    train_fraction: float | None = None
    """train_size over the size of the full table."""
    label_noise: float | None = None

    def frames(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """The same as a traces table and a runs table of one run."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        rows = {name: values[name] for name in ("step", *METRICS) if values[name] is not None}
        facts = {name: v for name, v in values.items() if name not in ("step", *METRICS) and v is not None}
        return pd.DataFrame({"run_id": "trace", **rows}), pd.DataFrame([{"run_id": "trace", **facts}])


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """All rows of all runs, sorted by (run, step), each step of a run once."""

    run_ids: npt.NDArray[Any]
    """One id a run, ascending."""
    starts: IntArray
    """Where each run's rows begin, and one more entry: the number of rows."""
    positions: IntArray
    """Row of the table that each row comes from."""
    step: FloatArray
    metrics: dict[str, FloatArray]
    """METRICS; NaN where not measured."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """Runs evaluated at the same steps. Rows without both accuracies are left out."""

    index: IntArray
    """Length R: which runs these are."""
    step_S: FloatArray
    train_RS: FloatArray
    """Training accuracy."""
    val_RS: FloatArray
    norm_RS: FloatArray
    """Parameter norm, NaN where not measured."""


def sort_rows(traces: pd.DataFrame) -> Rows:
    """Raises ValueError if there is no run_id or step. Of rows with equal run and step the last one counts."""
    missing = [name for name in ("run_id", "step") if name not in traces.columns]
    if missing:
        raise ValueError(f"traces need the columns run_id and step; missing: {', '.join(missing)}")
    codes, ids = pd.factorize(traces["run_id"], sort=True)
    step = _floats(traces, "step")
    positions = np.flatnonzero((codes >= 0) & np.isfinite(step))
    codes, step = codes[positions], step[positions]
    if not _is_sorted(codes, step):
        order = np.lexsort((step, codes))
        codes, step, positions = codes[order], step[order], positions[order]
        last = np.append((np.diff(codes) != 0) | (np.diff(step) != 0), True)[: len(codes)]
        codes, step, positions = codes[last], step[last], positions[last]
    metrics = {name: _floats(traces, name)[positions] for name in METRICS}
    starts = np.searchsorted(codes, np.arange(len(ids) + 1))
    return Rows(run_ids=np.asarray(ids, object), starts=starts, positions=positions, step=step, metrics=metrics)


def make_batches(rows: Rows, min_rows: int) -> Iterator[Batch]:
    """Stacks the runs that have at least min_rows rows with both accuracies."""
    measured = np.isfinite(rows.metrics["train_accuracy"]) & np.isfinite(rows.metrics["val_accuracy"])
    same_steps: dict[bytes, list[int]] = {}
    for run in range(len(rows.run_ids)):
        part = slice(rows.starts[run], rows.starts[run + 1])
        step = rows.step[part][measured[part]]
        if len(step) >= min_rows:
            same_steps.setdefault(step.tobytes(), []).append(run)
    for steps, runs in same_steps.items():
        for first in range(0, len(runs), MAX_RUNS):
            yield _stack(rows, measured, np.frombuffer(steps), np.array(runs[first : first + MAX_RUNS]))


def _stack(rows: Rows, measured: BoolArray, step_S: FloatArray, index: IntArray) -> Batch:
    take = np.concatenate([np.arange(rows.starts[run], rows.starts[run + 1]) for run in index])
    take = take[measured[take]].reshape(len(index), len(step_S))
    return Batch(
        index=index,
        step_S=step_S,
        train_RS=rows.metrics["train_accuracy"][take],
        val_RS=rows.metrics["val_accuracy"][take],
        norm_RS=rows.metrics["param_norm"][take],
    )


def _is_sorted(codes: IntArray, step: FloatArray) -> bool:
    change = np.diff(codes)
    return bool(((change > 0) | ((change == 0) & (np.diff(step) > 0))).all())


def _floats(table: pd.DataFrame, name: str) -> FloatArray:
    """A column as float64, NaN for null and for a column that is not there."""
    if name not in table.columns:
        return np.full(len(table), np.nan)
    return table[name].to_numpy(dtype=np.float64, na_value=np.nan)
