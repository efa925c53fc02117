"""What the classifier has to beat: a decision tree on its own evidence, two papers taken literally, the last row. And
what it can hardly beat: trees that have seen other runs of the very family."""

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import GroupKFold
from sklearn.tree import DecisionTreeClassifier

from results.classify.pass1 import RULE_NAMES
from results.classify.settings import ClassifierSettings
from results.classify.table import Reading

DEPTH, LEAF = 8, 5
FOLDS = 5


def evidence_table(read: Reading) -> np.ndarray:
    """Everything that the rules read, one row a run in the order of run_id; -1 for what was not seen."""
    numbers = read.numbers(ClassifierSettings()).values()
    return np.column_stack([np.nan_to_num(values, nan=-1.0, posinf=1e12) for values in numbers])


def evidence_and_verdict(read: Reading) -> np.ndarray:
    """The same, and what the rules make of it: which one held, and how far from its thresholds."""
    rule = np.array([RULE_NAMES.index(name) for name in read.verdict.rule])
    sure = read.verdict.sureness
    return np.column_stack([evidence_table(read), rule, np.minimum(sure.distance, 100), sure.side])


def tree(read: Reading, truth: list[str]) -> DecisionTreeClassifier:
    """Fitted to runs whose truth is known."""
    grown = DecisionTreeClassifier(max_depth=DEPTH, min_samples_leaf=LEAF, class_weight="balanced", random_state=0)
    return grown.fit(evidence_table(read), truth)


def read_by_family(evidence: np.ndarray, truth: np.ndarray, runs: np.ndarray) -> np.ndarray:
    """Boosted trees that know the family: each run is read by those that were fitted to the other folds.

    runs: of each reading its run, for all readings of a run lie in one fold.
    """
    said = np.empty(len(truth), object)
    for others, fold in GroupKFold(FOLDS).split(evidence, groups=runs):
        trees = HistGradientBoostingClassifier(max_iter=80, learning_rate=0.1, max_depth=4, random_state=0)
        said[fold] = trees.fit(evidence[others], truth[others].astype(str)).predict(evidence[fold])
    return said


def last_row(traces: pd.DataFrame) -> list[str]:
    """Both accuracies at the end; of two generalizing phases the commoner one."""
    last = traces.sort_values(["run_id", "step"]).groupby("run_id")[["train_accuracy", "val_accuracy"]].last()
    cases = [last["val_accuracy"] >= 0.9, last["train_accuracy"] >= 0.9]
    return list(np.select(cases, ["grokking", "memorization"], "confusion"))


def huang_literally(labels: pd.DataFrame) -> list[str]:
    """Their four dynamics, and none."""
    return labels["huang_dynamic"].tolist()
