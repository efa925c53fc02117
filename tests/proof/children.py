"""How a run is logged: noise of finite samples and of training, fewer rows, a budget, slingshots. A parent is exact and
dense; its children are what somebody might have logged of it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from parent import Parent
from scipy.signal import lfilter


@dataclass(frozen=True, kw_only=True)
class Log:
    """What is done to a parent."""

    n_rows: int = 330
    budget_share: float = 1.0
    """Of the parent's budget."""
    jitter: float = 0.0
    """Standard deviation of training's restlessness, in accuracy; correlated over rows."""
    sampled: bool = False
    """Whether accuracies are counts over a finite set."""
    spikes: float = 0.0
    """Share of rows at which both accuracies collapse for this row alone."""
    holes: float = 0.0
    """Share of rows that are lost."""
    even: bool = False
    """Rows even in time, not in log time first."""


CLEAN = Log(n_rows=1500)
MODERATE = Log(n_rows=120, jitter=0.01, sampled=True, spikes=0.005, holes=0.05)
MODERATELY = "moderate, all together"
"""The nuisance that goals are set for."""
NUISANCES = {
    "none": Log(),
    "noise .01": Log(jitter=0.01),
    "noise .03": Log(jitter=0.03),
    "finite samples": Log(sampled=True),
    "120 rows": Log(n_rows=120),
    "40 rows": Log(n_rows=40),
    "even rows": Log(n_rows=200, even=True),
    "spikes 2 %": Log(spikes=0.02),
    "holes 20 %": Log(holes=0.2),
    "half of the budget": Log(budget_share=0.5),
    "a fifth of the budget": Log(budget_share=0.2),
    MODERATELY: MODERATE,
    "strong, all together": Log(n_rows=60, jitter=0.03, sampled=True, spikes=0.02, holes=0.2),
}


def eval_steps(budget: float, n_rows: int, *, even: bool = False) -> np.ndarray:
    """Whole steps, dense in log time, then with an even gap."""
    if even:
        return np.unique(np.linspace(0, budget, n_rows).round())
    gap = budget / (0.75 * n_rows)
    low, high = 1.0001, 3.0
    for _ in range(40):
        growth = np.sqrt(low * high)
        head = gap / (growth - 1)
        n = np.log(max(head, 1.0)) / np.log(growth) + (budget - head) / gap
        low, high = (growth, high) if n > n_rows else (low, growth)
    head = min(gap / (high - 1), budget)
    log = np.exp(np.arange(0, np.log(max(head, 1.0)), np.log(high)))
    return np.unique(np.concatenate([[0.0], log, np.arange(head, budget, gap), [budget]]).round())


def child(parent: Parent, log: Log, run_id: str, draw: np.random.Generator) -> tuple[pd.DataFrame, dict[str, object]]:
    """Rows of the traces table, and the run's facts."""
    budget = max(int(parent.budget * log.budget_share), 10)
    steps = eval_steps(budget, log.n_rows, even=log.even)
    train, val, norm = parent.curves(steps)
    rows = pd.DataFrame({"run_id": run_id, "step": steps, "train_accuracy": train, "val_accuracy": val})
    rows["param_norm"] = norm
    facts = {
        "run_id": run_id,
        "steps": budget,
        "chance_accuracy": parent.chance,
        "train_size": parent.n_train,
        "val_size": parent.n_val,
        "train_fraction": parent.train_fraction,
        "outcome": "ended",
        "task": run_id,  # so that no two are neighbours: what pass 1 says of each is in question
    }
    return disturbed(rows, log, parent, draw), facts


def disturbed(rows: pd.DataFrame, log: Log, parent: Parent, draw: np.random.Generator) -> pd.DataFrame:
    """Noise, counts, spikes and holes; the first and the last row stay.

    A trained run is not sampled anew, for it has the noise of its own finite sets; but a disturbed accuracy of ten
    examples is still one of tenths. Nobody could have logged .893 of ten."""
    n = len(rows)
    columns = {}
    spiked = (draw.uniform(size=n) < log.spikes) & (np.arange(n) > 0)
    for name, count in (("train_accuracy", parent.n_train), ("val_accuracy", parent.n_val)):
        x = rows[name].to_numpy()
        restless = 2 * np.sqrt(np.clip(x * (1 - x), 0, 0.25)) * 0.7 + 0.3
        x = x + log.jitter * restless * _correlated(draw, n) if log.jitter else x
        x = np.clip(np.where(spiked, x * draw.uniform(0.2, 0.7, n), x), 0, 1)
        if parent.is_trained:
            x = _to_a_count(x, count, draw)
        elif log.sampled:
            x = draw.binomial(count, x) / count
        columns[name] = x
    kept = draw.uniform(size=n) >= log.holes
    kept[[0, -1]] = True
    return rows.assign(**columns)[kept]


def _to_a_count(x: np.ndarray, count: int, draw: np.random.Generator) -> np.ndarray:
    """A number of examples whose mean is x: up or down by chance, in proportion. Exact counts stay."""
    below = np.floor(x * count + 1e-6)
    return np.asarray((below + (draw.uniform(size=len(x)) < x * count - below)) / count)


def _correlated(draw: np.random.Generator, n: int, memory: float = 0.6) -> np.ndarray:
    return np.asarray(lfilter([np.sqrt(1 - memory**2)], [1, -memory], draw.normal(size=n)))


def children(parents: Sequence[Parent], log: Log, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Tables of traces and runs, a run for each parent, in their order."""
    draw = np.random.default_rng(seed)
    made = [child(parent, log, f"{i:06d}", draw) for i, parent in enumerate(parents)]
    return pd.concat([rows for rows, _ in made], ignore_index=True), pd.DataFrame([facts for _, facts in made])


def longer(log: Log, times: float) -> Log:
    """The same log of a run that goes on, or ends sooner."""
    more = 1 + max(np.log2(times), 0) / 2
    return replace(log, budget_share=log.budget_share * times, n_rows=int(log.n_rows * more))
