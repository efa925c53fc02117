"""What the classifier has to beat: a decision tree on its own evidence, two papers taken literally, the last row."""

import numpy as np
import pandas as pd
from sklearn.tree import DecisionTreeClassifier

from results.classify.settings import ClassifierSettings
from results.classify.table import read_runs, sort_runs

DEPTH, LEAF = 8, 5


def evidence_table(traces: pd.DataFrame, runs: pd.DataFrame) -> np.ndarray:
    """Everything that the rules read, one row a run in the order of run_id; -1 for what was not seen."""
    settings = ClassifierSettings()
    numbers = read_runs(sort_runs(traces, runs), settings).numbers(settings)
    return np.column_stack([np.nan_to_num(values, nan=-1.0, posinf=1e12) for values in numbers.values()])


def tree(traces: pd.DataFrame, runs: pd.DataFrame, truth: list[str]) -> DecisionTreeClassifier:
    """Fitted to runs whose truth is known."""
    grown = DecisionTreeClassifier(max_depth=DEPTH, min_samples_leaf=LEAF, class_weight="balanced", random_state=0)
    return grown.fit(evidence_table(traces, runs), truth)


def last_row(traces: pd.DataFrame) -> list[str]:
    """Both accuracies at the end; of two generalizing phases the commoner one."""
    last = traces.sort_values(["run_id", "step"]).groupby("run_id")[["train_accuracy", "val_accuracy"]].last()
    cases = [last["val_accuracy"] >= 0.9, last["train_accuracy"] >= 0.9]
    return list(np.select(cases, ["grokking", "memorization"], "confusion"))


def huang_literally(labels: pd.DataFrame) -> list[str]:
    """Their four dynamics, and none."""
    return labels["huang_dynamic"].tolist()
