"""Generalization by percolation on the graph of training facts, beside a memory of single facts.

Each training example is a link between two entities (mean degree `degree`), and a `lawful` share of the links can be
understood, that is compiled into a rule: at a rate that features gate (a delay), that understood neighbours speed up
(a link needs others to close a parallelogram: Liu et al. 2022), and that falls to `idle` of it where memory answers
the link. A fresh example is right where both its ends lie in the giant cluster of understood links, so validation is a
power (about 2) of that cluster's share S = 1 - exp(-degree * u * S), zero below degree * u = 1 (Lubana et al. 2024, "A
percolation model of emergence"). Understood links are lost by drift, at a rate that grows with age (own reasoning:
worn weights), and by memory that overwrites those it holds. Memory takes in what is still wrong (and `greed` of what
the rule answers), up to a capacity, forgets, and is displaced where the rule answers. A training example is right if
memory holds it, or it is understood, or the giant cluster spans it (independent: mean field); the squared norm is a
base and a cost per link held.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from parent import Curves, Parent, dense_steps, is_together, log_uniform, sizes
from scipy.integrate import odeint

CHANCES = (1 / 113, 1 / 31, 0.1, 0.5)
FINE, TOP = 500, 60
"""The table of giant shares: so many entries per unit of mean understood degree, up to this degree."""


def giant_table() -> list[float]:
    """The giant cluster's share S = 1 - exp(-z S) at each mean understood degree z; the inverse z(S) is explicit."""
    share = np.concatenate([np.linspace(0, 0.99, 20_000)[1:], 1 - np.geomspace(0.01, 1e-26, 4000)[1:]])
    left = np.concatenate([1 - np.linspace(0, 0.99, 20_000)[1:], np.geomspace(0.01, 1e-26, 4000)[1:]])
    z = np.concatenate([[1.0], -np.log(left) / share])
    return np.interp(np.arange(TOP * FINE + 2) / FINE, z, np.concatenate([[0.0], share])).tolist()


GIANT = giant_table()


def giant(z: float) -> float:
    x = min(max(z, 0.0), TOP) * FINE
    i = int(x)
    return GIANT[i] + (x - i) * (GIANT[i + 1] - GIANT[i])


@dataclass(frozen=True, kw_only=True)
class Facts:
    """The constants of one run; rates are per step."""

    degree: float
    lawful: float
    power: float
    delay: float
    onset: float
    seed: float
    spread: float
    need: float
    idle: float
    drift: float
    wear: float
    overwrite: float
    take_in: float
    capacity: float
    greed: float
    forget: float
    displace: float
    memory_cost: float
    rule_cost: float

    def slopes(self, state: np.ndarray, t: float) -> tuple[float, float]:
        u, m = max(float(state[0]), 0.0), min(max(float(state[1]), 0.0), 1.0)
        z = self.degree * u  # the mean understood degree
        unexplained = (1 - u) * (1 - giant(z) ** self.power)
        gate = 1 / (1 + (self.delay / max(t, 1e-9)) ** self.onset)
        near = z**self.need / (1 + z**self.need)
        speed = gate * (self.idle + (1 - self.idle) * (1 - m)) * (self.seed + self.spread * near)
        room = max(1 - m / self.capacity, 0.0)
        lost = self.drift / (1 + (self.wear / max(t, 1e-9)) ** 2) + self.overwrite * m
        asked = self.greed + (1 - self.greed) * unexplained
        given_up = self.forget + self.displace * (1 - unexplained)
        return speed * (self.lawful - u) - lost * u, self.take_in * (1 - m) * asked * room - given_up * m

    def memory_alone(self) -> float:
        """Where memory comes to rest if nothing is understood: take_in (1 - m) (1 - m / capacity) = forget m."""
        b = 1 + 1 / self.capacity + self.forget / self.take_in
        return float(2 / (b + np.sqrt(b * b - 4 / self.capacity)))


def draw_facts(draw: np.random.Generator, budget: int) -> Facts:
    def rate(low: float, high: float) -> float:
        """So many times per budget."""
        return log_uniform(draw, low, high) / budget

    return Facts(
        degree=log_uniform(draw, 1.5, 20),
        lawful=float(draw.beta(4, 1)),
        power=float(draw.uniform(1.5, 3)),
        delay=log_uniform(draw, 0.001, 1) * budget,
        onset=float(draw.uniform(1, 5)),
        seed=rate(0.3, 30),
        spread=rate(5, 1000),
        need=float(draw.uniform(0.5, 2.5)),
        idle=log_uniform(draw, 0.01, 1),
        drift=rate(2, 1000),
        wear=log_uniform(draw, 0.1, 20) * budget,
        overwrite=rate(0.01, 30),
        take_in=rate(3, 1000),
        capacity=log_uniform(draw, 0.2, 12),
        greed=log_uniform(draw, 0.03, 1),
        forget=rate(0.001, 3),
        displace=rate(0.003, 3),
        memory_cost=log_uniform(draw, 0.1, 10),
        rule_cost=log_uniform(draw, 0.1, 10),
    )


def family(draw: np.random.Generator, n: int) -> Iterator[Parent]:
    for _ in range(n):
        budget = int(log_uniform(draw, 5e3, 1e5))
        facts, chance, size = draw_facts(draw, budget), CHANCES[draw.integers(len(CHANCES))], sizes(draw)
        grid = np.union1d(dense_steps(budget, 2000), dense_steps(10 * budget, 2000))
        states = odeint(facts.slopes, [0.0, 0.0], grid, rtol=1e-6, atol=1e-8, hmax=budget / 20, mxstep=20_000)
        understood, memory = np.clip(states.T, 0, 1)
        curves = make_curves(facts, grid, understood, memory, chance)
        steps = dense_steps(budget)
        train, val, norm = curves(steps)
        together = is_together(
            steps, np.interp(steps, grid, memory), train, val, norm,
            chance=chance, n_train=size["n_train"], memory_alone=facts.memory_alone(),
        )  # fmt: skip
        yield Parent(family="percolation", curves=curves, budget=budget, chance=chance, together=together, **size)


def make_curves(facts: Facts, grid: np.ndarray, understood: np.ndarray, memory: np.ndarray, chance: float) -> Curves:
    def curves(steps: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        u, m = np.interp(steps, grid, understood), np.interp(steps, grid, memory)
        val = np.interp(facts.degree * u, np.arange(len(GIANT)) / FINE, GIANT) ** facts.power
        train = 1 - (1 - m) * (1 - u) * (1 - val)
        norm = 10 * np.sqrt(1 + facts.memory_cost * m + facts.rule_cost * u)
        return chance + (1 - chance) * train, chance + (1 - chance) * val, norm

    return curves
