"""What is known of each run besides its trace: budget, outcome, chance, numbers of examples. NaN where unknown."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from results.classify.batch import BoolArray, FloatArray, IntArray, Rows
from results.classify.settings import ClassifierSettings


@dataclass(frozen=True, kw_only=True, eq=False)
class Facts:
    """One entry a run."""

    budget: FloatArray
    """Steps the run was meant to train; the last row's step where the table doesn't say."""
    last_step: FloatArray
    """Step of the last row; NaN without rows."""
    n_rows: IntArray
    n_train: FloatArray
    n_val: FloatArray
    is_census: BoolArray
    """Validation is all of the table that training left over."""
    chance: FloatArray
    chance_known: BoolArray
    ceiling: FloatArray
    """Training accuracy of a network that learnt the rule and none of the noisy labels: 1 - rho + rho * chance."""
    diverged: BoolArray
    stopped: BoolArray
    """Ended before the budget by a rule of the spec."""
    failed: BoolArray

    def at(self, index: IntArray) -> "Facts":
        """The same for some of the runs."""
        return Facts(**{name: getattr(self, name)[index] for name in self.__dataclass_fields__})


def gather_facts(rows: Rows, config: pd.DataFrame, settings: ClassifierSettings) -> Facts:
    """`config` has one row a run, in the order of rows.run_ids, and any of the columns of a runs table."""
    n_rows = np.diff(rows.starts)
    last_step = np.where(n_rows > 0, np.append(rows.step, np.nan)[rows.starts[1:] - 1], np.nan)
    budget, n_train, n_val = (_column(config, name) for name in ("steps", "train_size", "val_size"))
    chance, known = _chance(config, settings)
    noise = np.nan_to_num(_column(config, "label_noise"))
    outcome = _text(config, "outcome")
    return Facts(
        budget=np.where(np.isfinite(budget), budget, last_step),
        last_step=last_step,
        n_rows=n_rows,
        n_train=n_train,
        n_val=n_val,
        is_census=_is_census(n_train, n_val, _column(config, "train_fraction")),
        chance=chance,
        chance_known=known,
        ceiling=1 - noise + noise * chance,
        diverged=_diverged(rows, outcome),
        stopped=outcome == "stopped",
        failed=outcome == "failed",
    )


def _column(config: pd.DataFrame, name: str) -> FloatArray:
    if name not in config.columns:
        return np.full(len(config), np.nan)
    return pd.to_numeric(config[name], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)


def _text(config: pd.DataFrame, name: str) -> np.ndarray[Any, Any]:
    """Text, with "" for null."""
    if name not in config.columns:
        return np.full(len(config), "", object)
    column = config[name].astype(object)
    return column.where(column.notna(), "").to_numpy()


def _chance(config: pd.DataFrame, settings: ClassifierSettings) -> tuple[FloatArray, BoolArray]:
    """The knob, else the column, else one class in `modulus`, else 0."""
    column, modulus = _column(config, "chance_accuracy"), _column(config, "modulus")
    chance = np.where(np.isfinite(column), column, 1 / np.where(modulus > 0, modulus, np.nan))
    if settings.chance is not None:
        chance = np.full(len(config), settings.chance)
    known = (chance >= 0) & (chance < 1)
    return np.where(known, chance, 0.0), known


def _is_census(n_train: FloatArray, n_val: FloatArray, train_fraction: FloatArray) -> BoolArray:
    """The table's size is train_size / train_fraction. Unknown sizes: a sample, of unknown size."""
    with np.errstate(divide="ignore", invalid="ignore"):
        table_size = n_train / train_fraction
    return np.asarray(np.abs(n_train + n_val - table_size) < 0.5)


def _diverged(rows: Rows, outcome: np.ndarray[Any, Any]) -> BoolArray:
    unknown = outcome == ""
    diverged = np.asarray(outcome == "diverged", bool)
    return diverged | (unknown & _looks_diverged(rows)) if unknown.any() else diverged


def _looks_diverged(rows: Rows) -> BoolArray:
    """For traces without a known outcome: an infinite loss or norm, or a training loss that had been a number and is
    none in the last row where training accuracy was measured. (A gap elsewhere is "not measured".)"""
    infinite = np.zeros(len(rows.step), bool)
    for name in ("train_loss", "val_loss", "param_norm"):
        infinite |= np.isinf(rows.metrics[name])
    loss = rows.metrics["train_loss"]
    measured = np.flatnonzero(np.isfinite(rows.metrics["train_accuracy"]) | np.isfinite(loss))
    diverged = np.zeros(len(rows.run_ids), bool)
    for run, (start, stop) in enumerate(zip(rows.starts[:-1], rows.starts[1:], strict=True)):
        last = measured[max(np.searchsorted(measured, stop) - 1, 0)] if len(measured) else -1
        lost = start <= last < stop and np.isnan(loss[last]) and np.isfinite(loss[start:last]).any()
        diverged[run] = lost or infinite[start:stop].any()
    return diverged
