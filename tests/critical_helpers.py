"""Labels of sweeps over width and train size, with what each run does known."""

import math
from collections.abc import Callable

import numpy as np
import pandas as pd

from results.critical.memory import RandomLabels
from results.critical.settings import CriticalSettings

BUDGET = 8000
WIDTHS = (4, 8, 16, 32)
SIZES = (300, 400, 500, 600, 700)


def labels_of(
    t_val: Callable[[int, int, int], float],
    *,
    widths: tuple[int, ...] = WIDTHS,
    sizes: tuple[int, ...] = SIZES,
    n_seeds: int = 8,
    **columns: object,
) -> pd.DataFrame:
    """One run for each width, size and seed; `t_val` says when it generalizes (inf: never)."""
    rows = [
        {"width": width, "train_size": size, "seed": seed, "t_val": t_val(width, size, seed)}
        for width in widths
        for size in sizes
        for seed in range(n_seeds)
    ]
    frame = pd.DataFrame(rows)
    generalized = np.isfinite(frame["t_val"])
    frame["t_val"] = frame["t_val"].where(generalized)
    defaults = {
        "run_id": [f"run{i:05d}" for i in range(len(frame))],
        "t_train": 100.0,
        "phase": np.where(generalized, "grokking", "memorization"),
        "warning": "",
        "steps": BUDGET,
        "chance_accuracy": 0.0,
        "modulus": 31,
        "final_train_accuracy": 1.0,
        "final_val_accuracy": np.where(generalized, 1.0, 0.0),
        "classifier_version": "test",
    }
    return frame.assign(**(defaults | columns))


def random_labels_of(
    accuracy: Callable[[int, int, int], float],
    *,
    widths: tuple[int, ...] = WIDTHS,
    sizes: tuple[int, ...] = SIZES,
    n_seeds: int = 8,
) -> RandomLabels:
    """`accuracy(width, size, seed)` on the train set, the same at every budget."""
    labels = labels_of(lambda *_: math.inf, widths=widths, sizes=sizes, n_seeds=n_seeds)
    values = [accuracy(*key) for key in labels[["width", "train_size", "seed"]].itertuples(index=False)]
    val_size = 31**2 - labels["train_size"]
    labels = labels.assign(final_train_accuracy=values, symmetric=True, val_size=val_size)
    shares = CriticalSettings().budget_shares
    return RandomLabels(
        labels=labels,
        accuracy=dict.fromkeys(shares, np.array(values)),
        settings=CriticalSettings(),
    )


def traces_of(labels: pd.DataFrame, n_rows: int = 30) -> pd.DataFrame:
    """Accuracy as a step at t_val, loss its opposite."""
    step = np.unique(np.geomspace(1, BUDGET, n_rows).astype(int))
    parts = []
    for run_id, t_val in zip(labels["run_id"], labels["t_val"], strict=True):
        accuracy = (step >= t_val).astype(float)
        columns = {"run_id": run_id, "step": step, "val_accuracy": accuracy, "val_loss": 3.0 * (1 - accuracy)}
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)
