"""Pass 2: the run among its neighbours, which are equal in everything but training size and seed.

A run that memorized may have done so because it had too few examples: below the critical size, as Huang et al. (2024)
define ungrokking. One run cannot show that; its neighbours can. So `memorization` (unless it was partly right from the
start) becomes `ungrokking`, kind below_critical_size, when

- its size lies below the lower end of the interval of D50, the size at which half of the seeds generalize (profile of
  the penalized likelihood, widened by what runs of one seed have in common: `results.critical.logistic`),
- at most pass2_share of the seeds at its own size generalize, and
- D50 has stopped moving between half of the budget and all of it (else the label stays, warned of as `provisional`).

Only what pass 1 wrote is read, and only rows that pass 1 left as memorization are changed: applying the pass twice, or
to the rows in another order, changes nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from results.classify.batch import BoolArray, FloatArray, IntArray
from results.classify.columns import NOT_CONFIG, VARIES_AMONG_NEIGHBOURS
from results.classify.sentences import steps
from results.classify.settings import ClassifierSettings
from results.classify.warning_texts import PROVISIONAL
from results.critical.logistic import fit_place
from results.replicates import replicate_seeds

KIND = "below_critical_size"
CENSORED = ("stopped_early", "no_trace", "no_accuracy", "too_few_rows")
"""Warnings of runs that may yet generalize, or of which nothing is known."""
CHANGED = ("phase", "confidence", "huang_dynamic", "ungrokking_kind", "pass", "neighbours", "warning", "why")


def compare_with_neighbours(labels: pd.DataFrame, settings: ClassifierSettings) -> pd.DataFrame:
    """Labels with some of `memorization` turned into `ungrokking`. A new table; rows keep their order."""
    if "train_size" not in labels.columns or not (labels["phase"] == "memorization").any():
        return labels
    changed = {name: labels[name].astype(object).to_numpy(copy=True) for name in CHANGED}
    runs = read_runs(labels)
    for rows in groups(labels):
        group = runs.at(rows)
        for finding in judge(group, settings):
            _write(changed, group, finding)
    return labels.assign(**{name: pd.Series(values, labels.index).infer_objects() for name, values in changed.items()})


@dataclass(frozen=True, kw_only=True, eq=False)
class Group:
    """Runs that are neighbours of each other, one entry a run."""

    rows: IntArray
    run_ids: np.ndarray
    train_size: FloatArray
    t_val: FloatArray
    budget: FloatArray
    """Equal among neighbours."""
    known: BoolArray
    """Whether it is known if the run generalizes within the budget."""
    candidate: BoolArray
    seed: IntArray
    """A number for each seed: its runs are not independent, for their train sets nest."""

    @property
    def generalized(self) -> BoolArray:
        return np.asarray(np.isfinite(self.t_val))

    def at(self, rows: IntArray) -> "Group":
        """Some of the runs."""
        return Group(**{name: getattr(self, name)[rows] for name in self.__dataclass_fields__})


@dataclass(frozen=True, kw_only=True)
class D50:
    """In training examples."""

    value: float
    low: float
    """The smallest size trained if the runs do not bound it."""
    high: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Finding:
    """About the candidates at one training size."""

    members: BoolArray
    d50: D50
    stable: bool
    """If not, their label stays, marked provisional."""
    confidence: float
    witnesses: BoolArray
    """Runs that generalized, at the smallest larger size where at least half do."""
    why: str


def groups(labels: pd.DataFrame) -> Iterator[IntArray]:
    """Row numbers of each group of neighbours, ordered by run_id: the order of the table has no say."""
    names = [name for name in labels.columns if name not in NOT_CONFIG and name not in VARIES_AMONG_NEIGHBOURS]
    key = labels[names].assign(all_runs=0)
    if "batch_size" in names:  # one of the whole training set is a full batch, whatever its size
        batch_size = pd.to_numeric(labels["batch_size"])
        key["batch_size"] = batch_size.where(batch_size < labels["train_size"])
    group = key.groupby(list(key.columns), dropna=False, sort=False).ngroup().to_numpy()
    order = np.lexsort((labels["run_id"].astype(str).to_numpy(dtype=object), group))
    yield from np.split(order, np.flatnonzero(np.diff(group[order])) + 1)


def read_runs(labels: pd.DataFrame) -> Group:
    """All runs, as if neighbours."""
    phase, warning = labels["phase"].to_numpy(dtype=object), labels["warning"].to_numpy(dtype=object)
    train_size, budget = (
        labels[name].to_numpy(dtype=np.float64, na_value=np.nan) if name in labels else np.full(len(labels), np.nan)
        for name in ("train_size", "steps")
    )
    t_val = labels["t_val"].to_numpy(dtype=np.float64)
    settled = is_settled(labels)
    return Group(
        rows=np.arange(len(labels)),
        run_ids=labels["run_id"].to_numpy(dtype=object),
        train_size=train_size,
        t_val=t_val,
        budget=budget,
        known=np.isfinite(train_size) & (np.isfinite(t_val) | settled) & is_validated(labels),
        candidate=(phase == "memorization") & ~_has_flag(warning, ("partial_from_start",)),
        seed=np.asarray(pd.factorize(replicate_seeds(labels), use_na_sentinel=False)[0], dtype=np.int64),
    )


def is_settled(labels: pd.DataFrame) -> BoolArray:
    """Whether what a run has not done by now, it has not done within its budget."""
    warning, phase = labels["warning"].to_numpy(dtype=object), labels["phase"].to_numpy(dtype=object)
    return np.asarray(~_has_flag(warning, CENSORED) & (phase != "diverged"))


def is_validated(labels: pd.DataFrame) -> BoolArray:
    """Whether enough examples validate a run to tell if it generalizes."""
    return np.asarray(~_has_flag(labels["warning"].to_numpy(dtype=object), ("too_few_validation",)))


def find_d50(group: Group, generalized: BoolArray, level: float) -> D50 | None:
    """None where it is not bracketed: no size at which less than half of the seeds generalize below one at which at
    least half do."""
    known = group.known
    x = np.log(group.train_size[known])
    place = fit_place(x, generalized[known], level=level, seeds=group.seed[known])
    if place is None:
        return None
    value, low, high = np.exp([place.value, place.low, place.high])
    return D50(value=float(value), low=float(low), high=float(high))


def judge(group: Group, settings: ClassifierSettings) -> Iterator[Finding]:
    """One finding for each training size whose candidates lie below D50."""
    size, generalized, known = group.train_size, group.generalized, group.known
    if not (group.candidate & known).any() or not generalized.any():
        return
    d50 = find_d50(group, generalized, settings.pass2_level)
    if d50 is None:
        return
    stable = is_stable(group, d50, settings)
    for own_size in np.unique(size[group.candidate & known & (size < d50.low)]):
        own = known & (size == own_size)
        witnesses = find_witnesses(group, own_size)
        if generalized[own].mean() > settings.pass2_share or not witnesses.any():
            continue
        yield Finding(
            members=group.candidate & own,
            d50=d50,
            stable=stable,
            confidence=settings.pass2_level,
            witnesses=witnesses,
            why=_why(group, own, witnesses, d50, settings),
        )


def standing(labels: pd.DataFrame, run_id: str, settings: ClassifierSettings) -> str:
    """Where a run stands among its neighbours, as far as pass 2 asks: one sentence, for any label."""
    if "train_size" not in labels.columns:
        return "Its training size is not known, so it has no neighbours."
    runs = read_runs(labels)
    row = int(np.flatnonzero(runs.run_ids == run_id)[0])
    group = next(runs.at(rows) for rows in groups(labels) if row in rows)
    size, known = runs.train_size[row], group.known
    own = known & (group.train_size == size)
    sizes = np.unique(group.train_size[known])
    many = f"{len(group.rows)} runs of {len(sizes)} training sizes"
    if len(sizes) < 2:
        return "No neighbour has another training size, so nothing is known of more data."
    if not group.generalized.any():
        return f"Of its neighbours, {many}, none generalizes."
    d50 = find_d50(group, group.generalized, settings.pass2_level)
    if d50 is None:
        return (
            f"Among its neighbours, {many}, D50 is not bracketed: no size where few generalize lies below one of many."
        )
    interval = f"D50 = {steps(d50.value)} ({settings.pass2_level:.0%} interval {steps(d50.low)} to {steps(d50.high)})"
    share = f"{np.count_nonzero(group.generalized[own])} of {np.count_nonzero(own)} seeds at its size generalize"
    moved = "" if is_stable(group, d50, settings) else "; D50 has moved since half of the budget, so it is provisional"
    side = "below" if size < d50.low else "not below"
    return (
        f"Among its neighbours, {many}: {interval}; its size, {steps(size)}, is {side} that interval; {share}{moved}."
    )


def is_stable(group: Group, d50: D50, settings: ClassifierSettings) -> bool:
    """Whether the same traces, read at half of the budget, give nearly the same D50."""
    half = find_d50(group, group.t_val <= group.budget / 2, settings.pass2_level)
    return half is not None and abs(half.value / d50.value - 1) <= settings.pass2_stability


def find_witnesses(group: Group, above: float) -> BoolArray:
    """Empty if half of the seeds generalize at no larger size."""
    for size in np.unique(group.train_size[group.known & (group.train_size > above)]):
        here = group.known & (group.train_size == size)
        if group.generalized[here].mean() >= 0.5:
            return np.asarray(here & group.generalized)
    return np.zeros(len(group.rows), bool)


def _write(changed: dict[str, np.ndarray], group: Group, finding: Finding) -> None:
    for row in group.rows[finding.members]:
        if not finding.stable:
            changed["warning"][row] = _with_flag(changed["warning"][row], PROVISIONAL)
            continue
        changed["phase"][row] = changed["huang_dynamic"][row] = "ungrokking"
        changed["ungrokking_kind"][row] = KIND
        changed["pass"][row] = 2
        changed["confidence"][row] = min(changed["confidence"][row], finding.confidence)
        changed["neighbours"][row] = ",".join(group.run_ids[finding.witnesses])
        changed["why"][row] = finding.why


def _why(group: Group, own: BoolArray, witnesses: BoolArray, d50: D50, settings: ClassifierSettings) -> str:
    size, more = group.train_size[own][0], group.train_size[witnesses][0]
    n_more = np.count_nonzero(group.known & (group.train_size == more))
    return (
        f"Fitted but never generalized, below D50: {steps(size)} training examples, where "
        f"{np.count_nonzero(group.generalized[own])} of {np.count_nonzero(own)} seeds generalize, against D50 = "
        f"{steps(d50.value)} ({settings.pass2_level:.0%} interval {steps(d50.low)} to {steps(d50.high)}); at "
        f"{steps(more)} it is {np.count_nonzero(witnesses)} of {n_more}."
    )


def _has_flag(warning: np.ndarray, flags: tuple[str, ...]) -> BoolArray:
    return np.array([any(flag in flags for flag in text.split(",")) for text in warning], bool)


def _with_flag(warning: str, flag: str) -> str:
    words = [word for word in warning.split(",") if word]
    return ",".join(words if flag in words else [*words, flag])
