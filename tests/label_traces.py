"""Synthetic traces: accuracies drawn by hand, with a known reading."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from results.classify import ClassifierSettings, Label, Trace, classify_trace

BUDGET = 50_000
CHANCE = 1 / 113
NEVER = 10**12


def eval_steps(budget: int = BUDGET, *, growth: float = 1.05, n_gaps: int = 250) -> np.ndarray:
    """Evaluations dense in log time, then a bounded linear gap, as a run has them."""
    steps = [0]
    while steps[-1] < budget:
        grown = max(steps[-1] + 1, int(np.ceil(steps[-1] * growth)))
        steps.append(min(grown, steps[-1] + max(budget // n_gaps, 1), budget))
    return np.array(steps)


def rise(steps: np.ndarray, middle: float, *, low: float = 0.0, high: float = 1.0, width: float = 0.1) -> np.ndarray:
    """A sigmoid in log step: half of the way at `middle`."""
    return low + (high - low) / (1 + np.exp(np.minimum((np.log1p(middle) - np.log1p(steps)) / width, 500)))


def learns(middle: float, *, high: float = 1.0, chance: float = CHANCE) -> Callable[[np.ndarray], np.ndarray]:
    return lambda steps: rise(steps, middle, low=chance, high=high)


def label(
    train: object,
    val: object,
    *,
    steps: np.ndarray | None = None,
    budget: int | None = BUDGET,
    knobs: dict | None = None,
    **facts,
) -> Label:
    """`train` and `val` are arrays or functions of the steps; facts default to a run that spent its budget."""
    steps = eval_steps() if steps is None else steps
    train_x, val_x = (x(steps) if callable(x) else np.broadcast_to(x, len(steps)) for x in (train, val))
    facts = {"steps": budget, "chance_accuracy": CHANCE, "outcome": "ended"} | facts
    trace = Trace(step=steps, train_accuracy=train_x, val_accuracy=val_x, **facts)
    return classify_trace(trace, ClassifierSettings.from_mapping(knobs or {}))


def flags(result: Label) -> set[str]:
    return set(result.warning.split(",")) - {""}


def sweep(runs: list[dict], n_rows: int = 150) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Traces and runs tables; each run gives train_size, seed and t_train, t_val (NEVER for never)."""
    steps = np.unique(np.geomspace(1, BUDGET, n_rows).astype(int))
    traces, table = [], []
    for index, run in enumerate(runs):
        run_id = run.get("run_id", f"run{index:04d}")
        train, val = (rise(steps, run[key], low=CHANCE, width=0.02) for key in ("t_train", "t_val"))
        traces.append(pd.DataFrame({"run_id": run_id, "step": steps, "train_accuracy": train, "val_accuracy": val}))
        config = {name: value for name, value in run.items() if name not in ("t_train", "t_val", "run_id")}
        table.append({"run_id": run_id, "outcome": "ended", "steps": BUDGET, "chance_accuracy": CHANCE} | config)
    return pd.concat(traces, ignore_index=True), pd.DataFrame(table)
