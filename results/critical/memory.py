"""D_mem: the largest train set of random labels that a network still fits, by width.

Random labels can only be memorized, so what is fitted of them is the memory of a network under its training: the same
optimizer, decay and budget as the runs that it is compared with, or it is another quantity; `differences` names what
differs. A run counts as fitted if its training accuracy over the last tenth of the budget is at least .99.

D_mem is the size at which half of the seeds still fit, with the intervals of `results.critical.sizes`: not fitting
becomes more frequent with size.

Huang et al. (2024, figure 4) train on all p^2 pairs, equal labels for (a, b) and (b, a), and count the right answers.
That count has both orders of each pair in it, so it belongs on the axis of train sizes only by way of **facts**,
unordered pairs: a random set of D pairs holds about D (1 - D / 2 p^2) of them (2,651 at D = 3,000, p = 113).
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from results.axes import distinct
from results.critical.intervals import student_half
from results.critical.outcomes import is_settled
from results.critical.settings import CriticalSettings
from results.critical.sizes import SIZE, Threshold, find_threshold, stability
from results.replicates import with_replicate_seeds

Floats = npt.NDArray[np.float64]

NEARLY_ALL = 0.99
"""Share of the table from which a train set counts as Huang et al.'s "all pairs"; one pair at least is kept back."""

EPSILON = 1e-9

NOT_COMPARED = frozenset(
    {
        "task", "task_kind", "symmetric", "marginal_of", "subsets", "target_dim",
        "label_noise", "train_size", "train_fraction", "val_size",
        "seed", "data_seed", "init_seed", "chance_accuracy", "n_parameters", "eval_growth", "eval_gaps",
        "stop_val_accuracy", "stop_patience_steps",
    }
)  # fmt: skip
"""What the question is asked about, and how often one looked. Everything else decides how a network is trained."""


@dataclass(frozen=True, kw_only=True)
class Memory:
    """D_mem at one value of the axis, by one budget. Sizes in training examples."""

    axis_value: Any
    budget_share: float
    budget_steps: int
    threshold: Threshold
    facts: float
    """That D_mem holds; NaN where it is not known."""
    verdict: str


@dataclass(frozen=True, kw_only=True)
class Count:
    """Huang et al.'s count at one value of the axis: random labels on the whole table."""

    axis_value: Any
    right: float
    """Pairs answered right, mean over seeds, both orders counted."""
    facts: float
    size: float
    """Training examples that hold so many facts; NaN where the network holds the whole table."""
    low: float
    high: float
    """Student interval over seeds, as `size`."""
    n_seeds: int
    table: int
    """All pairs."""


def facts_of(size: float, modulus: int) -> float:
    """Unordered pairs among `size` random ordered ones of p^2."""
    return size * (1 - size / (2 * modulus**2))


def size_of(facts: float, modulus: int) -> float:
    """Ordered pairs that hold so many unordered ones, the inverse of `facts_of`; NaN beyond the table."""
    table = modulus**2
    return table * (1 - math.sqrt(1 - 2 * facts / table)) if 2 * facts <= table else math.nan


def final_values(traces: pd.DataFrame, name: str, budgets: Mapping[str, float], tail: float) -> dict[str, float]:
    """By run_id the median of a metric over the last share `tail` of the steps up to its budget, three rows at least.

    Infinite and missing values do not count; NaN where a run has no row that does.
    """
    found: dict[str, float] = {}
    rows = traces[["run_id", "step", name]].sort_values(["run_id", "step"], kind="stable")
    for run_id, run in rows.groupby("run_id", sort=False):
        step, values = run["step"].to_numpy(dtype=float), run[name].to_numpy(dtype=float, na_value=np.nan)
        within = int(np.searchsorted(step, budgets[str(run_id)], side="right"))
        first = int(np.searchsorted(step[:within], (1 - tail) * budgets[str(run_id)], side="right"))
        last = values[max(min(first, within - 3), 0) : within]
        last = last[np.isfinite(last)]
        found[str(run_id)] = float(np.median(last)) if len(last) else math.nan
    return found


@dataclass(frozen=True, kw_only=True, eq=False)
class RandomLabels:
    """A sweep of random labels, read once: its labels, and by share of the budget each run's training accuracy."""

    labels: pd.DataFrame
    accuracy: Mapping[float, Floats]
    settings: CriticalSettings

    @classmethod
    def read(cls, labels: pd.DataFrame, traces: pd.DataFrame, settings: CriticalSettings | None = None) -> Self:
        """`traces` has run_id, step and train_accuracy."""
        settings, labels = settings or CriticalSettings(), with_replicate_seeds(labels)
        accuracy = {}
        for share in settings.budget_shares:
            budgets = dict(zip(labels["run_id"], share * labels["steps"].to_numpy(dtype=float), strict=True))
            found = final_values(traces, "train_accuracy", budgets, settings.tail)
            accuracy[share] = np.array([found.get(run_id, math.nan) for run_id in labels["run_id"]])
        return cls(labels=labels, accuracy=accuracy, settings=settings)

    def where(self, chosen: npt.NDArray[np.bool_]) -> Self:
        """Some of the runs."""
        accuracy = {share: values[chosen] for share, values in self.accuracy.items()}
        return type(self)(labels=self.labels[chosen], accuracy=accuracy, settings=self.settings)

    def without(self, seed: Any) -> Self:
        """The runs of the other seeds."""
        return self.where((self.labels["seed"] != seed).to_numpy())

    def threshold(self, budget_share: float = 1.0) -> Threshold:
        """D_mem of runs that differ in train size and seed only."""
        accuracy = self.accuracy[budget_share]
        known = np.isfinite(accuracy) & is_settled(self.labels)
        sizes, seeds = self.labels[SIZE].to_numpy(dtype=float)[known], self.labels["seed"].to_numpy()[known]
        is_beyond = accuracy[known] < self.settings.memory - EPSILON
        return find_threshold(sizes, is_beyond, seeds, level=self.settings.level)

    def by(self, name: str) -> Iterator[tuple[Any, Self]]:
        """The runs at each value of a column, ascending."""
        codes, values = distinct(self.labels[name])
        for i, value in enumerate(values):
            yield value, self.where(codes == i)


def thresholds(random: RandomLabels, axis: str) -> dict[Any, Threshold]:
    """D_mem at the full budget by value of the axis."""
    return {value: part.threshold() for value, part in random.by(axis)}


def memory_sizes(random: RandomLabels, axis: str) -> list[Memory]:
    """D_mem for each value of the axis at each budget."""
    symmetric, found = is_symmetric(random.labels), []
    for value, part in random.by(axis):
        at = {share: part.threshold(share) for share in random.settings.budget_shares}
        modulus = int(part.labels["modulus"].iloc[0])
        for share, threshold in at.items():
            known = threshold.value
            found.append(
                Memory(
                    axis_value=value,
                    budget_share=share,
                    budget_steps=round(share * float(part.labels["steps"].max())),
                    threshold=threshold,
                    facts=facts_of(known, modulus) if symmetric else known,
                    verdict=stability(threshold, at.get(0.5), random.settings.stability) if share == 1 else "",
                )
            )
    return found


def is_symmetric(labels: pd.DataFrame) -> bool:
    """Whether (a, b) and (b, a) carry the same label; true where a sweep does not say."""
    return bool(labels["symmetric"].all()) if "symmetric" in labels.columns else True


def count_right(random: RandomLabels, axis: str) -> list[Count]:
    """Huang et al.'s count for each value of the axis that has runs on nearly the whole table of symmetric labels."""
    if not is_symmetric(random.labels):
        return []
    is_whole = random.labels[SIZE] >= NEARLY_ALL * random.labels["modulus"] ** 2
    return [_count(value, part.labels, random.settings) for value, part in random.where(is_whole.to_numpy()).by(axis)]


def _count(axis_value: Any, labels: pd.DataFrame, settings: CriticalSettings) -> Count:
    modulus = int(labels["modulus"].iloc[0])
    parts = [(labels[f"final_{kind}_accuracy"] * labels[f"{kind}_size"]).fillna(0) for kind in ("train", "val")]
    right = (parts[0] + parts[1]).groupby(labels["seed"]).mean().to_numpy(dtype=float)
    holds_all = bool((labels["final_train_accuracy"] >= settings.memory - EPSILON).mean() >= 0.5)
    half = student_half(right, settings.level)
    return Count(
        axis_value=axis_value,
        right=float(right.mean()),
        facts=_facts_of_count(float(right.mean()), modulus),
        size=math.nan if holds_all else size_of(_facts_of_count(float(right.mean()), modulus), modulus),
        low=size_of(_facts_of_count(max(float(right.mean()) - half, 0.0), modulus), modulus),
        high=math.nan if holds_all else size_of(_facts_of_count(float(right.mean()) + half, modulus), modulus),
        n_seeds=len(right),
        table=modulus**2,
    )


def _facts_of_count(right: float, modulus: int) -> float:
    """p (p + 1) / 2 facts make p^2 pairs."""
    return right * (modulus + 1) / (2 * modulus)


def differences(one: pd.DataFrame, other: pd.DataFrame, axis: str, ignore: frozenset[str] = frozenset()) -> list[str]:
    """What decides training and is not the same in two tables of runs, as `weight_decay: 1.0 and 0.1`.

    Compared where both have runs at the same value of `axis`; what moves along it (heads with width) may.
    """
    shared = sorted(set(distinct(one[axis])[1]) & set(distinct(other[axis])[1]), key=str)
    names = [
        name
        for name in one.columns
        if name in other.columns and name not in NOT_COMPARED and name not in (axis, "run_id") and name not in ignore
    ]
    found = []
    for name in names:
        pairs = [_values(table[table[axis].isin(shared)], name, axis) for table in (one, other)]
        if pairs[0] != pairs[1]:
            sets = [sorted({value for values in pair.values() for value in values}, key=str) for pair in pairs]
            found.append(f"{name}: {_listed(sets[0])} and {_listed(sets[1])}")
    return found


def _values(table: pd.DataFrame, name: str, axis: str) -> dict[Any, frozenset[Any]]:
    """At each value of the axis the values of a column. A full batch is one, whatever the train size."""
    column = table[name]
    if name == "batch_size":
        size = pd.to_numeric(column)
        column = size.where(size < table[SIZE])
    codes, values = distinct(column)
    named = pd.Series([values[code] for code in codes], dtype=object)
    places, keys = distinct(table[axis])
    return {key: frozenset(named[places == i]) for i, key in enumerate(keys)}


def _listed(values: list[Any]) -> str:
    shown = ", ".join(str(value) for value in values[:4])
    return f"{shown}, ..." if len(values) > 4 else shown
