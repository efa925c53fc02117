"""Runs on the LU picture: memory and rule relax fast on the sphere of a norm, and the norm moves slowly."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from parent import Parent, dense_steps, is_together, log_uniform, sizes
from scipy.integrate import odeint

REACH = 10
"""Budgets that the curves cover."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """Liu et al. 2023 (Omnigrok), taken further: state is the norm w, what memory holds (m), what the rule gets right
    (g). On the sphere of norm w memory can hold capacity * w^p / (1 + w^p) training sets (the L of the training
    loss: too small a norm fits nothing; too small a network never fits). The rule can be written down only above
    the norm `low`; above the norm `high` = low * data^widening the solutions that overfit outnumber it, so far as
    memory fits the set (the two sides of the U of the validation loss); with less data the zone narrows, closes at
    data = 1, and the rule covers less. Memory goes to what the norm allows at a rate; the rule grows from a seed by
    its own strength (Liu et al. 2022, Nanda et al. 2023) and is left at another rate when the norm no longer
    favours it. The norm decays (weight decay), is driven outward by what is still wrong in training (steps of fixed
    length: Adam) and spreads by the noise of the updates (rotational equilibrium, Kosson et al. 2023), so it falls
    from a large start, grows from a small one, and may pass the zone's far end. In some runs a part of the data is
    taken away at a step (Varma et al. 2023): memory needs less, the zone narrows.
    """

    start: float
    decay: float
    drive: float
    spread: float
    capacity: float
    steep: float
    sharp: float
    low: float
    data: float
    widening: float
    edge: float
    far_edge: float
    crowding: float
    covering: float
    memory_rate: float
    rule_rate: float
    leave_rate: float
    seed: float
    drop_at: float
    kept: float

    def memory_at(self, log_w: float, kept: float) -> float:
        room = self.capacity / kept * step_up(self.steep * log_w)
        return room / (1 + room**self.sharp) ** (1 / self.sharp)

    def rule_at(self, log_w: float, kept: float) -> float:
        low = math.log(self.low)
        high = low + self.widening * math.log(self.data * kept)
        overfit = step_up((log_w - high) / self.far_edge) * self.memory_at(log_w, kept) ** self.crowding
        return step_up((log_w - low) / self.edge) * (1 - overfit)

    def covered(self, kept: float) -> float:
        """Share of all examples that the data pin down (Liu et al. 2022)."""
        return 1 - math.exp(-((self.data * kept) ** self.covering))

    def run(self, steps: np.ndarray, kept: float, state: np.ndarray, with_rule: bool) -> np.ndarray:
        covered = self.covered(kept)

        def change(state: np.ndarray, _: float) -> tuple[float, float, float]:
            log_w, m, g = state.tolist()
            w, wrong = math.exp(log_w), max((1 - m) * (1 - g), 0.0)
            d_log_w = -self.decay + self.spread / w**2 + self.drive * wrong / w
            pull = covered * self.rule_at(log_w, kept) - g
            rate = self.rule_rate * (self.seed + max(g, 0.0)) if pull > 0 else self.leave_rate
            return d_log_w, self.memory_rate * (self.memory_at(log_w, kept) - m), with_rule * rate * pull

        return odeint(change, state, steps, rtol=1e-6, atol=1e-8, mxstep=5000)

    def history(self, end: float, with_rule: bool = True) -> np.ndarray:
        """Rows of step, norm, memory, and right by the rule."""
        first, state = min(self.drop_at, end), np.array([math.log(self.start), 0.0, 0.0])
        steps = np.expm1(np.linspace(0, np.log1p(first), 1500))
        parts = [(steps, self.run(steps, 1.0, state, with_rule))]
        if first < end:
            steps = first + np.expm1(np.linspace(0, np.log1p(end - first), 1500))
            parts.append((steps, self.run(steps, self.kept, parts[0][1][-1], with_rule)))
        rows = [np.column_stack([t, np.exp(s[:, 0]), s[:, 1:].clip(0, 1)]) for t, s in parts]
        return np.concatenate(rows)


def step_up(x: float) -> float:
    return 0.5 * (1 + math.tanh(x / 2))


def draw_network(draw: np.random.Generator, budget: int) -> Network:
    decay = log_uniform(draw, 3e-6, 1e-3)
    low, drops = log_uniform(draw, 0.2, 2.5), draw.random() < 0.2
    return Network(
        start=log_uniform(draw, 0.1, 12),
        decay=decay,
        drive=log_uniform(draw, 1e-6, 1e-3),
        spread=decay * log_uniform(draw, 0.15, 4) ** 2,
        capacity=log_uniform(draw, 0.15, 15),
        steep=log_uniform(draw, 1.5, 8),
        sharp=log_uniform(draw, 2, 8),
        low=low,
        data=log_uniform(draw, 0.5, 60),
        widening=log_uniform(draw, 0.2, 1.2),
        edge=log_uniform(draw, 0.03, 0.3),
        far_edge=log_uniform(draw, 0.03, 0.5),
        crowding=log_uniform(draw, 1, 8),
        covering=log_uniform(draw, 0.5, 2),
        memory_rate=1 / log_uniform(draw, 20, 2000),
        rule_rate=1 / log_uniform(draw, 20, 3000),
        leave_rate=1 / log_uniform(draw, 100, 10_000),
        seed=log_uniform(draw, 1e-4, 0.3),
        drop_at=log_uniform(draw, 0.1, 1) * budget if drops else math.inf,
        kept=log_uniform(draw, 0.02, 0.7),
    )


def family(draw: np.random.Generator, n: int) -> Iterator[Parent]:
    for _ in range(n):
        budget, chance = int(log_uniform(draw, 5e3, 1e5)), float(draw.choice([1 / 113, 1 / 31, 0.1, 0.5]))
        net, unit, dip = draw_network(draw, budget), log_uniform(draw, 5, 80), draw.uniform(0, 0.1)
        yield parent(net, budget, chance, unit, dip, sizes(draw))


def parent(net: Network, budget: int, chance: float, unit: float, dip: float, size: dict[str, int]) -> Parent:
    """unit: the norm at which memory is half of what it can be. dip: how far memory puts validation below chance."""
    at, norm, memory, rule = net.history(REACH * budget).T

    def curves(steps: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        w, m, v = (np.interp(steps, at, x) for x in (norm, memory, rule))
        val = chance + (1 - chance) * v - chance * dip * m * (1 - v)
        return chance + (1 - chance) * (m + (1 - m) * v), val, unit * w

    end = min(REACH * budget, net.drop_at)  # of the training set that it began with
    steps = dense_steps(end, 8000)
    held, seen = np.interp(steps, at, memory), curves(steps)
    together = is_together(steps, held, *seen, chance=chance, n_train=size["n_train"])
    if together:  # else the memory of a network without the rule, never less, would not make it so
        alone = net.history(end, with_rule=False)[:, 2].max()
        most = max(alone, held.max())
        together = is_together(steps, held, *seen, chance=chance, n_train=size["n_train"], memory_alone=most)
    return Parent(family="norm_ball", curves=curves, budget=budget, chance=chance, together=together, **size)
