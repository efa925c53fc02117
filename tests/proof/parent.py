"""What a simulated run is made of, and what it is: by the papers' definitions, read off exact curves."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

DELTA = 1000
LEVEL = 0.9
BAND = 0.05
STALL, HELD = 3, 0.75
"""A stall lasts from when this share of what memory then holds on average is there until so many times that step..."""
PART, PART_EXAMPLES = 0.25, 150
"""...a part is this share of the training set above chance, or so many examples if these are less (BAND at least)..."""
GAIN = 0.1
"""...and so much both accuracies gain at least when they rise together. (docs/phases.md; no paper says how much.)"""
LATE_GAIN = 0.125
"""What validation gains late, above chance, in semi-grokking. (Likewise.)"""
RISEN = 0.9
"""Share of validation's rise at which it is done."""

Curves = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]


@dataclass(frozen=True, kw_only=True)
class Parent:
    """A run as its mechanism has it."""

    family: str
    curves: Curves
    """Training accuracy, validation accuracy and norm (NaN if the family has none) at steps from 0 to 10 budgets."""
    budget: int
    chance: float
    n_train: int
    n_val: int
    train_fraction: float = float("nan")
    """Of the table, where there is one: it tells whether validation is all the rest of it."""
    is_trained: bool = False
    """A real run: its curves are as logged, not exact."""
    together: bool = False
    """The mechanism: a part is memorized first, then one thing lifts both accuracies."""
    smooth: Curves | None = None
    """The curves without their noise, where `curves` has any: what the truth is read off."""

    def truth(self, budget: float) -> str:
        return definition(self, budget)


def definition(parent: Parent, budget: float) -> str:
    """The phase by definition (docs of the papers, table of phases), read off exact curves up to a budget."""
    steps = dense_steps(budget)
    train, val, _ = (parent.smooth or parent.curves)(steps)
    c = parent.chance
    fitted, generalized = train >= LEVEL, val >= LEVEL
    top, last = (val.max() - c) / (1 - c), (val[-1] - c) / (1 - c)
    has_risen = generalized.any() or top >= 0.5
    if has_risen and last <= top / 2:
        return "ungrokking" if train[-1] >= LEVEL - BAND else "confusion"
    if generalized.any() and val[-1] < LEVEL - BAND and train[-1] >= LEVEL - BAND:
        return "ungrokking"
    if parent.together and has_risen and last >= 0.1:
        return "progression"
    if generalized.any():
        if not fitted.any():
            return "comprehension"
        delay = steps[generalized.argmax()] - steps[fitted.argmax()]
        return "grokking" if delay >= DELTA else "comprehension"
    if not fitted.any():
        return "confusion"
    if last < 0.1:
        return "memorization"
    when_late = np.interp(steps[fitted.argmax()] + DELTA, steps, val)
    return "semi-grokking" if val[-1] - when_late >= LATE_GAIN * (1 - c) else "memorization"


def is_together(
    steps: np.ndarray,
    memorized: np.ndarray,
    train: np.ndarray,
    val: np.ndarray,
    norm: np.ndarray,
    *,
    chance: float,
    n_train: int,
    memory_alone: float | None = None,
) -> bool:
    """Whether a mechanism shows what Huang et al. 2024 (section 3) call progression: a part is memorized, training
    stalls, then both accuracies rise together while the norm does not fall.

    memorized: what is right in training by memory alone, 0 at chance, without what generalization adds. train, val:
    accuracies, and norm (NaN: none), all at `steps`. memory_alone: the most that memory would hold if nothing
    generalized; absent: the most that it does.
    """
    v, a = (val - chance) / (1 - chance), (train - chance) / (1 - chance)
    shows = v >= BAND
    if not shows.any() or v.max() < GAIN:
        return False
    show, done = int(shows.argmax()), int((v >= RISEN * v.max()).argmax())
    level = memorized[show]
    there = steps[int((memorized >= HELD * held_before(steps, memorized, show)).argmax())]
    most = memorized.max() if memory_alone is None else memory_alone
    is_a_part = level >= least_part(n_train) and train[show] < LEVEL and chance + (1 - chance) * most < LEVEL
    rises = a[done] - a[show] >= GAIN and not norm[done] < (1 - BAND) * norm[show]
    return bool(is_a_part and steps[show] >= STALL * max(there, 1.0) and rises)


def held_before(steps: np.ndarray, memorized: np.ndarray, show: int) -> float:
    """What memory holds on average from a third of a step up to it."""
    at = np.linspace(steps[show] / STALL, steps[show], 200)
    return float(np.interp(at, steps, memorized).mean())


def least_part(n_train: int) -> float:
    """Memory holds examples, not shares."""
    return max(min(PART, PART_EXAMPLES / n_train), BAND)


def dense_steps(budget: float, n: int = 4000) -> np.ndarray:
    """Half of them even in log time, half even in time."""
    log = np.expm1(np.linspace(0, np.log1p(budget), n // 2))
    return np.unique(np.concatenate([log, np.linspace(0, budget, n // 2)]))


def sizes(draw: np.random.Generator) -> dict[str, int]:
    return {"n_train": int(log_uniform(draw, 200, 5000)), "n_val": int(log_uniform(draw, 300, 10_000))}


def log_uniform(draw: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(draw.uniform(np.log(low), np.log(max(high, low)))))
