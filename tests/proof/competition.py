"""Circuits that compete for one resource: competitive exclusion in training time.

A memorizing circuit and one to three partial generalizing circuits share the width of a network (total squared norm, 1
when full). Gradient flow on two-layer circuits makes the mass x of each grow in proportion to itself, so the circuits
are species: x' = x (f - decay - crowding) / tau. Fitness f is how fast the loss still falls with that circuit's mass:
its logit per mass (for memory: capacity / number of examples) times the error left on the inputs it serves. Crowding is
the mean fitness of all mass times (mass / width)^sharpness, so in a full network the masses follow replicator dynamics
and the fitter circuit displaces the other, while circuits with different niches (inputs served) may coexist. Memory
serves training examples only, unevenly, and blurs the logits of unseen ones; what it holds of examples since dropped
(the data cut down once, or drawn anew at a steady rate) is dead mass that takes up width until it decays.
Sources: Merrill et al. 2023 (dense and sparse subnetworks compete), Huang et al. 2024 (circuits compete), Varma et al.
2023 (efficiency, logit per norm; critical data size; ungrokking); Lotka-Volterra and replicator equations, Gause.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from parent import GAIN, Parent, dense_steps, is_together, log_uniform, sizes
from scipy.integrate import odeint
from scipy.special import expit, ndtri

HORIZON = 10
MARGIN = 3.0


@dataclass(frozen=True, kw_only=True)
class Contest:
    """The constants of one run; the first species is memory, the last state is its dead mass."""

    chance: float
    load: float  # capacity of a network that is all memory / number of examples
    uneven: float
    power: np.ndarray  # of each generalizing circuit: logit per mass, in units of a good answer's
    niche: np.ndarray  # share of all inputs that it serves
    tau: np.ndarray
    seed: np.ndarray
    decay: float
    sharpness: float
    transfer: float
    blur: float
    turnover: float
    cut_at: float
    kept: float

    def logits(self, x: np.ndarray, load: float, nodes: int) -> tuple[np.ndarray, ...]:
        """Generalizing logit per niche (last axis: overlap of niches), memory's logit per kind of example; weights."""
        who = np.array(list(product([0, 1], repeat=len(self.power))), float)
        weight = np.prod(np.where(who > 0, self.niche, 1 - self.niche), axis=1)
        good = np.log(1 / self.chance - 1) + MARGIN
        ease = np.exp(self.uneven * ndtri((np.arange(nodes) + 0.5) / nodes))
        ease /= ease.mean()
        return good * (x[..., 1:-1] * self.power) @ who.T, good * load * x[..., :1] * ease, weight, who, ease

    def right(self, logit: np.ndarray) -> np.ndarray:
        return expit(logit - np.log(1 / self.chance - 1))

    def grid(self, budget: int) -> np.ndarray:
        """Fine in log time, over three budgets, and after the cut."""
        after = self.cut_at + np.expm1(np.linspace(0, np.log1p(budget), 200)) if self.cut_at < np.inf else []
        return np.unique(np.concatenate([dense_steps(HORIZON * budget, 1200), np.linspace(0, 3 * budget, 1000), after]))

    def masses(self, steps: np.ndarray, alone: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Masses at steps, and memory's load then (a cut leaves fewer examples)."""
        seed = self.seed * (np.arange(len(self.seed)) < 1 if alone else 1)
        _, _, weight, who, ease = self.logits(np.append(seed, 0.0), 1.0, 12)
        good, bias = np.log(1 / self.chance - 1) + MARGIN, np.log(1 / self.chance - 1)
        serves, by_power = who.T * weight, good * who * self.power

        def change(x: np.ndarray, _: float, load: float) -> np.ndarray:
            x = np.maximum(x, 0)
            left = expit(bias - (by_power @ x[1:-1])[:, None] - good * load * x[0] * ease)
            fitness = np.append(load * (weight @ left @ ease) / len(ease), self.power * (serves @ left.mean(axis=1)))
            total = x.sum()
            crowding = total**self.sharpness * (x[:-1] @ fitness) / (total + 1e-12)
            grows = (x[:-1] * (fitness - self.decay - crowding) + self.decay * seed) / self.tau
            lost = self.turnover * x[0]
            grows[0] -= lost
            return np.append(grows, lost - x[-1] * (self.decay + crowding) / self.tau[0])

        options = {"rtol": 1e-6, "atol": 1e-10, "mxstep": 20_000}
        cut = min(self.cut_at, steps[-1])
        before, after = steps[steps < self.cut_at], steps[steps >= self.cut_at]
        x = odeint(change, np.append(seed, 0.0), np.append(before, cut), args=(self.load,), **options)
        then = x[-1].copy()
        then[0], then[-1] = self.kept * then[0], then[-1] + (1 - self.kept) * then[0]
        later = odeint(change, then, np.append(cut, after), args=(self.load / self.kept,), **options)
        load = np.where(steps < self.cut_at, self.load, self.load / self.kept)
        return np.maximum(np.concatenate([x[:-1], later[1:]]), 0), load

    def table(self, x: np.ndarray, load: np.ndarray) -> tuple[np.ndarray, ...]:
        """Training accuracy, validation accuracy, what memory alone gets right (0 at chance)."""
        general, memory, weight, _, _ = self.logits(x, load[:, None], 24)
        train = self.right(general[:, :, None] + memory[:, None, :]).mean(axis=2) @ weight
        blurred = general * self.transfer / np.sqrt(1 + (self.blur * memory.mean(axis=1, keepdims=True)) ** 2)
        memorized = (self.right(memory).mean(axis=1) - self.chance) / (1 - self.chance)
        return train, self.right(blurred) @ weight, memorized


def contest(draw: np.random.Generator, chance: float, budget: int, n_train: int) -> Contest:
    k = int(draw.integers(1, 4))
    fate = draw.choice(["same", "cut", "anew"], p=[0.5, 0.35, 0.15])
    load = log_uniform(draw, 100, 1e4) / n_train
    power = np.array([log_uniform(draw, 0.7, 30) for _ in range(k)])
    first = np.array([log_uniform(draw, 1e-4, 5e-2), *(log_uniform(draw, 1e-6, 1e-2) for _ in range(k))])  # logits
    return Contest(
        chance=chance, load=load, uneven=draw.uniform(0.3, 2), power=power, niche=draw.beta(1.5, 0.4, k),
        tau=np.array([log_uniform(draw, 2, 100), *(log_uniform(draw, 50, 3e4) for _ in range(k))]),
        seed=np.minimum(first / np.append(load, power), 0.05),
        decay=log_uniform(draw, 1e-3, 0.5), sharpness=log_uniform(draw, 1, 8),
        transfer=draw.uniform(0.6, 1), blur=log_uniform(draw, 0.02, 0.5),
        turnover=1 / log_uniform(draw, 30, budget) if fate == "anew" else 0.0,
        cut_at=budget * log_uniform(draw, 0.03, 1) if fate == "cut" else np.inf, kept=log_uniform(draw, 0.01, 0.5),
    )  # fmt: skip


def progresses(run: Contest, budget: int, n_train: int, grid: np.ndarray, *told: np.ndarray) -> bool:
    """Asked of the shortest run in which validation rises at all: of 1, 3 or 10 budgets."""
    for times in (1, 3, HORIZON):
        steps = dense_steps(times * budget)
        train, val, memorized, norm = (np.interp(steps, grid, values) for values in told)
        if ((val - run.chance) / (1 - run.chance)).max() < GAIN:
            continue
        facts = {"chance": run.chance, "n_train": n_train}
        if not is_together(steps, memorized, train, val, norm, **facts):
            return False
        most = run.table(*run.masses(grid, alone=True))[2][grid <= times * budget].max()
        return is_together(steps, memorized, train, val, norm, **facts, memory_alone=float(most))
    return False


def family(draw: np.random.Generator, n: int) -> Iterator[Parent]:
    for _ in range(n):
        budget = int(log_uniform(draw, 5e3, 1e5))
        chance, size = float(draw.choice([1 / 113, 1 / 31, 0.1, 0.5])), sizes(draw)
        run, scale = contest(draw, chance, budget, size["n_train"]), log_uniform(draw, 5, 100)
        grid = run.grid(budget)
        x, load = run.masses(grid)
        train, val, memorized = run.table(x, load)
        norm = scale * np.sqrt(x.sum(axis=1))

        def curves(
            steps: np.ndarray, told: tuple[np.ndarray, ...] = (train, val, norm), grid: np.ndarray = grid
        ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            return tuple(np.interp(steps, grid, values) for values in told)

        together = progresses(run, budget, size["n_train"], grid, train, val, memorized, norm)
        yield Parent(family="competition", curves=curves, budget=budget, chance=chance, **size, together=together)
