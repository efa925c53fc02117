"""Runs that were trained, from docs/evidence/proof: dense and exact, accuracies as counts."""

from pathlib import Path

import numpy as np
import pandas as pd
from families import Parent

EVIDENCE = Path(__file__).resolve().parents[2] / "docs" / "evidence" / "proof"


def read_trained() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Tables of traces and runs. Each run's `task` is its own, so that no two are neighbours."""
    runs = pd.read_csv(EVIDENCE / "runs.csv").assign(task=lambda table: table["run_id"])
    traces = pd.read_parquet(EVIDENCE / "traces.parquet").merge(runs[["run_id", "train_size", "val_size"]])
    traces["train_accuracy"] = traces["train_correct"] / traces["train_size"]
    traces["val_accuracy"] = traces["val_correct"] / traces["val_size"]
    return traces.drop(columns=["train_correct", "val_correct", "train_size", "val_size"]), runs


def parents() -> list[Parent]:
    """The same as parents of noised, thinned and cut children."""
    traces, runs = read_trained()
    facts = runs.set_index("run_id")
    return [_parent(run, facts.loc[run_id]) for run_id, run in traces.groupby("run_id", sort=True)]


def _parent(run: pd.DataFrame, facts: pd.Series) -> Parent:
    step, norm = run["step"].to_numpy(float), run["param_norm"].to_numpy(float)
    accuracies = [run[name].to_numpy() for name in ("train_accuracy", "val_accuracy")]

    def curves(steps: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The nearest logged row: between rows nothing is known."""
        nearest = np.searchsorted((step[1:] + step[:-1]) / 2, steps)
        train, val = (values[nearest] for values in accuracies)
        return train, val, norm[nearest]

    return Parent(
        family=str(facts["sweep"]),
        is_trained=True,
        curves=curves,
        budget=int(facts["steps"]),
        chance=float(facts["chance_accuracy"]),
        n_train=int(facts["train_size"]),
        n_val=int(facts["val_size"]),
    )
