"""Subnetworks: a dense one that memorizes, up to its capacity, and a sparse one that generalizes, sharing one loss."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from parent import HELD, LEVEL, Curves, Parent, held_before, least_part, log_uniform, sizes
from scipy.integrate import odeint
from scipy.special import expit, logit, ndtr

SLICES = 10
GAIN = 8.0  # logits per squared norm of a neuron


@dataclass(frozen=True, kw_only=True)
class Net:
    """Mechanism (Merrill et al. 2023; phases of Nanda et al. 2023; efficiencies of Varma et al. 2023).

    Training examples lie in slices, each stored by its own group of dense neurons of norm a; beyond capacity a group
    gives hardly any logit. Inputs lie in features, each computed by a few sparse neurons of norm b, aligned to it by a
    share x (circuit formation; the logit goes as b^2 x; the gradient turns them, and weight decay has no effect on a
    direction); some inputs have no feature. Logits add up; every norm grows in proportion to itself and the residual of
    the softmax on what it serves, less weight decay and, in some runs, dropout's penalty (Wager et al. 2013: variance
    of the logit times p (1 - p)). A dense group serves one slice, and the loss is a mean, so its pressure goes as
    1 / size of the training set, and the sparse neurons' does not. On inputs it does not store, the dense
    network adds a random answer, noise in proportion to its output, until cleaned up; accuracy is the chance that the
    right class wins among noisy ones. A smaller or skewed training set, from some step on, may turn the balance.
    """

    classes: int
    rate: np.ndarray  # of the slices' dense neurons, for the first training set
    sparse_rate: float
    turn_rate: float
    decay: float
    capacity: float  # as a share of the first training set
    edge: float
    drop_dense: float
    drop_sparse: float
    disturb: float
    noise: float
    floor: float
    dense_size: float
    idle: float  # norm of weights that nothing uses
    shares: np.ndarray  # of the features among inputs; the last one: inputs without a feature
    train_shares: np.ndarray
    size: float = 1.0  # of the training set, against the first one

    @property
    def stored(self) -> np.ndarray:
        middles = (np.arange(SLICES) + 0.5) / SLICES
        return expit((self.capacity / self.size - middles) / self.edge)

    def run(self, start: np.ndarray, times: np.ndarray) -> np.ndarray:
        """States (norms a, norms b, alignments x) at the times."""
        stored, shares = self.stored, self.train_shares
        dense_rate, n, even = self.rate * stored / self.size, len(shares) - 1, np.full(SLICES, 1 / SLICES)
        offset = float(logit(1 / self.classes))

        drops = self.drop_dense + self.drop_sparse > 0

        def slope(_: float, state: np.ndarray) -> np.ndarray:
            a, b, x = state[:SLICES], state[SLICES : SLICES + n], state[SLICES + n :]
            memory, rule = GAIN * stored * a * a, np.zeros(n + 1)
            rule[:n] = GAIN * b * b * x
            left = 1 / (1 + np.exp(np.minimum(np.add.outer(memory + offset, rule), 300)))
            push_a = left @ shares
            mean = push_b = (even @ left * shares)[:n]
            if drops:
                spread = left * (1 - left)
                push_a = push_a - self.drop_dense * memory * (spread @ shares)
                push_b = mean - self.drop_sparse * (rule * (even @ spread) * shares)[:n]
            return np.concatenate([
                a * dense_rate * push_a - self.decay * (a - self.floor),
                b * self.sparse_rate * x * push_b - self.decay * (b - self.floor),
                self.turn_rate * mean * x * (1 - x),
            ])  # fmt: skip

        return odeint(slope, start, times, tfirst=True, rtol=1e-4, atol=1e-7, mxstep=20_000)

    def show(self, states: np.ndarray, times: np.ndarray) -> np.ndarray:
        """Rows: training accuracy, validation accuracy, norm, and accuracy on the training set by memory alone."""
        n = len(self.shares) - 1
        a, b, x = states[:, :SLICES], states[:, SLICES : SLICES + n], states[:, SLICES + n :]
        rule = np.pad(GAIN * b * b * x, ((0, 0), (0, 1)))
        memory = GAIN * self.stored * a * a
        mess = self.disturb * np.sqrt((memory**2).mean(1))[:, None]
        spread = np.hypot(self.noise, mess * (1 - self.stored))
        both = (memory[:, :, None] + rule[:, None]) / spread[:, :, None]
        train = wins(both, self.classes).mean(1) @ self.train_shares
        val = wins(rule / np.hypot(self.noise, mess), self.classes) @ self.shares
        alone = wins(memory / spread, self.classes).mean(1)
        idle = self.idle**2 * np.exp(-2 * self.decay * times)
        norm = np.sqrt(self.dense_size * (a * a).mean(1) + (b * b).sum(1) + idle)
        return np.stack([train, val, norm, alone])


@cache
def table(classes: int) -> tuple[np.ndarray, np.ndarray]:
    ahead, x = np.linspace(0, 12, 1201), np.linspace(-7, 7, 701)
    weight = np.exp(-x * x / 2)
    return ahead, (ndtr(x + ahead[:, None]) ** (classes - 1)) @ (weight / weight.sum())


def wins(ahead: np.ndarray, classes: int) -> np.ndarray:
    """Chance that the right class, ahead by so many standard deviations of the noise, has the top logit."""
    return np.interp(ahead, *table(classes))


def is_together(net: Net, t: np.ndarray, rows: np.ndarray, start: np.ndarray, n_train: int) -> bool:
    """Huang et al.'s progression, in the numbers that hold for all families; `net` has the training set after
    validation's rise."""
    train, val, norm, alone = rows
    c = 1 / net.classes
    v, m = (val - c) / (1 - c), (alone - c) / (1 - c)
    if v.max() < 0.05:
        return False
    show, end = int((v >= 0.05).argmax()), int((v >= 0.9 * v.max()).argmax())
    stall = t[int((m >= HELD * held_before(t, m, show)).argmax())] <= t[show] / 3
    if not (m[show] >= least_part(n_train) and train[show] < LEVEL and stall):
        return False
    if train[end] - train[show] < 0.1 or norm[show : end + 1].min() < 0.95 * norm[show]:
        return False
    without = start.copy()
    n = len(net.shares) - 1
    without[SLICES : SLICES + n] = 0
    grid = t[::10]
    lone = replace(net, sparse_rate=0.0).run(without, grid)
    lone[:, SLICES : SLICES + n] = 0
    return bool(net.show(lone, grid)[3].max() < 0.9)


def interpolator(t: np.ndarray, rows: np.ndarray) -> Curves:
    def curves(steps: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        train, val, norm = (np.interp(np.log1p(steps), np.log1p(t), row) for row in rows[:3])
        return train, val, norm

    return curves


def one(draw: np.random.Generator) -> Parent:
    budget, classes = int(log_uniform(draw, 5e3, 1e5)), int(draw.choice([113, 31, 10, 2]))
    n = int(draw.integers(1, 4))
    covered = draw.beta(3, 0.5)
    shares = np.append(covered * draw.dirichlet(np.full(n, 3.0)), 1 - covered)
    rate = 1 / log_uniform(draw, 10, 500)
    dropout = draw.uniform(0, 0.5) * draw.integers(0, 2)
    net = Net(
        classes=classes,
        rate=rate * np.exp(draw.uniform(0.1, 0.7) * draw.standard_normal(SLICES)),
        sparse_rate=rate * log_uniform(draw, 3, 300),
        turn_rate=rate * log_uniform(draw, 0.05, 3),
        decay=rate * log_uniform(draw, 1e-3, 0.3),
        capacity=log_uniform(draw, 0.2, 6),
        edge=log_uniform(draw, 0.02, 0.15),
        drop_dense=dropout / (1 - dropout) / log_uniform(draw, 2, 50),
        drop_sparse=dropout / (1 - dropout) / log_uniform(draw, 2, 50),
        disturb=log_uniform(draw, 0.05, 1),
        noise=log_uniform(draw, 0.7, 2.5),
        floor=log_uniform(draw, 0.005, 0.05),
        dense_size=log_uniform(draw, 1, 10),
        idle=log_uniform(draw, 0.1, 2),
        shares=shares,
        train_shares=shares,
    )
    skewed = shares * np.exp(draw.uniform(0, 1.5) * draw.standard_normal(n + 1))
    later = replace(net, size=log_uniform(draw, 0.02, 1), train_shares=skewed / skewed.sum())
    change = budget * log_uniform(draw, 0.05, 3) if draw.random() < 0.45 else np.inf
    first = np.concatenate(
        [
            np.full(SLICES, log_uniform(draw, 0.05, 0.5)),
            log_uniform(draw, 0.02, 0.3) * np.exp(0.3 * draw.standard_normal(n)),
            log_uniform(draw, 1e-5, 0.2) * np.exp(-draw.exponential(0.5, n)),
        ]
    )
    grid = np.unique(np.concatenate([np.expm1(np.linspace(0, np.log1p(10 * budget), 900)),
                                     np.linspace(0, 3 * budget, 400)]))  # fmt: skip
    t = grid
    before, after = np.append(grid[grid < change], change), np.append(change, grid[grid > change])
    if np.isfinite(change):
        states = net.run(first, before)
        seen = net.show(states, before)
        states = later.run(states[-1], after)
        t, rows = np.append(before, after + 1e-3), np.hstack([seen, later.show(states, after)])
    else:
        rows = net.show(net.run(first, grid), grid)
    risen = t[int((rows[1] - 1 / classes >= 0.9 * (rows[1].max() - 1 / classes)).argmax())]
    size = sizes(draw)
    return Parent(
        family="subnetworks",
        curves=interpolator(t, rows),
        budget=budget,
        chance=1 / classes,
        **size,
        together=is_together(later if risen > change else net, t, rows, first, size["n_train"]),
    )


def family(draw: np.random.Generator, n: int) -> Iterator[Parent]:
    for _ in range(n):
        yield one(draw)
