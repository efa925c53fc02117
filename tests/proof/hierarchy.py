"""Simulated runs whose task is a hierarchy of features, learnt from the bottom up beside a limited memory."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from parent import Parent, dense_steps, is_together, log_uniform, sizes

MOST_LEVELS, BATCH, POINTS = 5, 250, 2800


@dataclass(frozen=True, kw_only=True)
class Constants:
    """Numbers of examples are in units of the training set as it is at first, times in steps."""

    budget: int
    chance: float
    n_train: int
    n_val: int
    needs: np.ndarray  # critical number of data of each level (infinite for levels that the task lacks)
    rates: np.ndarray  # growth rate of each level
    weights: np.ndarray  # share of the inputs whose class is settled once this level and all below it are known
    seed: float  # strength of every level at the start, and the least that decay leaves of it
    pull: float  # what remains of the levels' drive where memory has already fitted what they leave unexplained
    decay: float  # weight decay: of levels and of memory that is in use
    capacity: float
    memory_rate: float
    forgetting: float  # decay of memory that is no longer needed
    cut: float  # when the data are cut down (infinite: never) ...
    kept: float  # ... and to which share
    costs: np.ndarray  # squared norm of: what is there at the start, a full set memorized, all levels; and its unit


def constants(draw: np.random.Generator) -> Constants:
    budget, n_levels = int(log_uniform(draw, 5e3, 1e5)), int(draw.integers(2, MOST_LEVELS + 1))
    level = np.arange(MOST_LEVELS)
    synonyms, slowing, share = log_uniform(draw, 1.2, 4), log_uniform(draw, 0.7, 2), log_uniform(draw, 0.3, 6)
    lowest = log_uniform(draw, 0.002, 1)
    needs = lowest * synonyms**level * np.exp(draw.normal(0, 0.3, MOST_LEVELS))
    rates = slowing**-level * np.exp(draw.normal(0, 0.4, MOST_LEVELS)) / log_uniform(draw, 5, 1000)
    weights = np.where(level < n_levels, share**level * draw.gamma(2, 1, MOST_LEVELS), 0)
    ambiguous = log_uniform(draw, 0.001, 0.3)
    decay = log_uniform(draw, 1e-6, 1e-3)
    is_cut = draw.random() < 0.6
    cut, kept = budget * log_uniform(draw, 0.05, 2), log_uniform(draw, 0.002, 0.5)
    return Constants(
        budget=budget,
        chance=float(draw.choice([1 / 113, 1 / 31, 0.1, 0.5])),
        **sizes(draw),
        needs=np.where(level < n_levels, needs, np.inf),
        rates=rates,
        weights=(1 - ambiguous) * weights / weights.sum(),
        seed=log_uniform(draw, 1e-5, 3e-2),
        pull=log_uniform(draw, 0.003, 1),
        decay=decay,
        capacity=log_uniform(draw, 0.1, 20),
        memory_rate=1 / log_uniform(draw, 10, 1000),
        forgetting=decay + log_uniform(draw, 1e-6, 1e-2),
        cut=cut if is_cut else np.inf,
        kept=kept if is_cut else 1.0,
        costs=np.array([1, log_uniform(draw, 0.2, 5), log_uniform(draw, 0.2, 5), log_uniform(draw, 10, 60)]),
    )


def known(strength: np.ndarray) -> np.ndarray:
    """How far each level and all below it can be used: 0 to 1 along the last axis."""
    return np.cumprod(1.0625 * strength**4 / (strength**4 + 0.0625), axis=-1)


def filled(held: np.ndarray, goal: np.ndarray, room: np.ndarray, speed: np.ndarray, loss: np.ndarray) -> np.ndarray:
    """Exact step of dx/ds = speed (x - goal) (x - room) - loss x, over s = 1."""
    total = goal + room + loss / speed
    spread = np.sqrt(np.maximum(total**2 - 4 * goal * room, 1e-18))
    low, high = (total - spread) / 2, (total + spread) / 2
    fade = np.exp(-speed * spread)
    above, below = high - held, held - low
    return np.maximum(low + spread * below * fade / np.maximum(above + below * fade, 1e-15), 0)


def integrate(runs: list[Constants]) -> tuple[np.ndarray, ...]:
    """Steps, explained share, right in training, memorized share, squared norm: a row for each run."""

    def get(name: str) -> np.ndarray:
        return np.array([getattr(run, name) for run in runs])

    end, cut = 10.0 * get("budget"), get("cut")
    ramp, even = np.linspace(0, 1, POINTS), np.linspace(0, 1, POINTS // 2)
    start = np.where(np.isfinite(cut), cut, 0.5 * get("budget"))
    first = np.expm1(ramp * np.log1p(end)[:, None])
    second = start[:, None] + np.expm1(even * np.log1p(end - start)[:, None])
    steps = np.sort(np.hstack([first, second, even * end[:, None]]), axis=1)
    needs, rates, weights, costs = get("needs"), get("rates"), get("weights"), get("costs")
    seed, pull, decay, capacity = get("seed")[:, None], get("pull"), get("decay"), get("capacity")
    speed, forgetting, kept = get("memory_rate") / capacity, get("forgetting"), get("kept")
    strength = np.repeat(seed, MOST_LEVELS, axis=1)
    in_use, spare, dropped, data = *np.zeros((3, len(runs))), np.ones(len(runs))
    usable = known(strength)
    explained = (weights * usable).sum(axis=1)
    rows = []
    for i in range(steps.shape[1]):
        now = steps[:, i]
        dt = now - steps[:, max(i - 1, 0)]
        # Levels: logistic growth where data exceed the critical number and the level below is there, else decay.
        signal = 1 - 2 / (1 + data[:, None] / needs)
        gate = np.hstack([np.ones((len(runs), 1)), usable[:, :-1]])
        fitted = in_use / np.maximum(data * (1 - explained), 1e-9)
        drive = pull + (1 - pull) * np.clip(1 - fitted, 0, 1)
        grow = rates * gate * drive[:, None] * np.maximum(signal, 0)
        net = grow - decay[:, None]
        size = np.maximum(np.abs(net), 1e-12)
        fade = np.exp(-size * dt[:, None])
        up, down = np.where(net > 0, 1, fade), np.where(net > 0, fade, 1)
        strength = np.clip(size * strength * up / (size * down + grow * strength * (1 - fade)), seed, 1)
        usable = known(strength)
        before, explained = explained, (weights * usable).sum(axis=1)
        # What levels come to explain need no more be held in memory; what they lose must be.
        freed = in_use * np.clip((explained - before) / (1 - before), 0, 1)
        needed = spare * np.clip((before - explained) / np.maximum(before, 1e-12), 0, 1)
        in_use, spare = in_use - freed + needed, spare + freed - needed
        forget = np.exp(-forgetting * dt)
        spare, dropped = spare * forget, dropped * forget
        room = capacity - spare - dropped
        span = np.maximum(speed * dt, 1e-12)
        in_use = np.minimum(filled(in_use, data * (1 - explained), room, span, decay * dt), data * (1 - explained))
        held, norm = in_use + spare + dropped, np.exp(-2 * decay * now) * costs[:, 0]
        norm = norm + costs[:, 1] * held + costs[:, 2] * (strength**2 * np.isfinite(needs)).mean(axis=1)
        rows.append((explained, explained + in_use / data, (in_use + spare) / data, norm * costs[:, 3] ** 2))
        is_cut = (now >= cut) & (data == 1)
        share = np.where(is_cut, kept, 1)
        dropped = dropped + (1 - share) * (in_use + spare)
        in_use, spare, data = in_use * share, spare * share, data * share
    return steps, *np.moveaxis(np.array(rows), 0, -1)


class Run:
    """The curves of one run, by interpolation in what was integrated."""

    def __init__(self, drawn: Constants, grid: np.ndarray, *columns: np.ndarray) -> None:
        self.constants, self.grid = drawn, grid
        self.explained, self.right, self.memorized, self.norm = columns

    def __call__(self, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        c = self.constants.chance
        train = c + (1 - c) * np.interp(steps, self.grid, self.right)
        val = c + (1 - c) * np.interp(steps, self.grid, self.explained)
        return train, val, np.sqrt(np.interp(steps, self.grid, self.norm))

    def parent(self) -> Parent:
        k = self.constants
        steps = dense_steps(10 * k.budget)
        train, val, norm = self(steps)
        shows = steps[int((val >= k.chance + 0.05 * (1 - k.chance)).argmax())]
        data = 1.0 if shows <= k.cut else k.kept
        room, loss = k.capacity / data, k.decay * k.capacity / data / k.memory_rate
        alone = (1 + room + loss - np.sqrt((1 + room + loss) ** 2 - 4 * room)) / 2
        memorized = np.interp(steps, self.grid, self.memorized)
        together = is_together(
            steps, memorized, train, val, norm, chance=k.chance, n_train=k.n_train, memory_alone=float(alone)
        )
        return Parent(
            family="hierarchy",
            curves=self,
            budget=k.budget,
            chance=k.chance,
            n_train=k.n_train,
            n_val=k.n_val,
            together=together,
        )


def family(draw: np.random.Generator, n: int) -> Iterator[Parent]:
    """A class is settled by a hierarchy of features (random hierarchy model, Cagnetta et al. 2024): a level can be
    learnt only once those below it are, if the data exceed its own critical number, which grows by the number of
    synonyms from level to level; it then grows logistically (Saxe et al.) at its own rate, slower the nearer to
    critical and the more of the unexplained examples memory has fitted already (Varma et al. 2023: what remains is the
    pull of efficiency). Each level settles a share of the inputs, some are ambiguous for good: validation is right on
    what is settled. A memory of limited capacity takes up training examples that are not explained, in proportion to
    these and to its room; what levels come to explain is no longer needed there, decays, and frees room. Weight decay
    makes levels fade that have too little drive. In some runs the data are cut down at a random time: levels whose
    critical number is no longer reached fade, those above with them, and memory takes over as far as it has room.
    """
    left = n
    while left > 0:
        runs = [constants(draw) for _ in range(BATCH)][:left]
        left -= len(runs)
        for run, *columns in zip(runs, *integrate(runs), strict=True):
            yield Run(run, *columns).parent()
