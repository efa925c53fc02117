"""Saddles: a deep linear student of a low-rank teacher, with a second route by which it knows examples by heart."""

from collections.abc import Iterator
from functools import cache

import numpy as np
from parent import Parent, dense_steps, is_together, log_uniform, sizes
from scipy.integrate import odeint
from scipy.special import ndtr, ndtri

GROUPS = 24
"""Of the weak directions of sampling noise, by strength."""
STEPS = 1600


@cache
def by_margin(classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Margins, and how often the right one of so many Gaussian scores is the highest if it is ahead by the margin."""
    margins, x = np.linspace(0, 40, 2001), np.linspace(-8, 8, 401)
    others, width = ndtr(x[None] + margins[:, None]) ** (classes - 1), np.exp(-(x**2) / 2)
    right = others @ width / width.sum()
    return margins, 1 / classes + (right - right[0]) / (1 - right[0]) * (1 - 1 / classes)


class Student:
    """Gradient flow in a deep linear student (Saxe et al. 2014; two routes race as in Saxe, Sodhani and Lewallen 2022).

    The teacher has few bundles of modes; bundle i explains the share p_i of the labels, and the student's strength
    in it, a_i = w_i^depth, leaves the saddle at 0 at a rate g_i that goes with the singular value: so bundles are
    learnt one after the other, in sigmoids whose times depend on the small w_i at the start. Beside it each example
    has a weak direction of its own (sampling noise, rank limited: only a share of the examples has one), through
    which a two-layer route fits what the modes leave of its label: b_q = u_q^2 - v_q^2, at a rate z_q (v: the part
    of opposite sign, equal to u at the start, when nothing is known; u v only decays). Both descend one loss,
    mean_q [sum_i p_i (1 - a_i - b_q)^2 + (1 - sum p) (1 - b_q)^2] / 2 plus weight decay: memory that fills first
    takes the modes' gradient away, decay then wears memory down to a residual decay / z_q, upon which every bundle
    of g_i > harmonic mean of z grows (at depth 2; Varma et al. 2023), slowly; the others are pruned. Accuracy is
    the chance that the right class's score (A = sum p a, plus b_q in training) is highest, given the noise of
    untrained directions, the overlap of the classes in the modes learnt, and, on new examples, memory's crosstalk.
    At some time part of the data set may be taken away, which strengthens each remaining example's own direction
    and relieves the rank.
    """

    def __init__(self, draw: np.random.Generator, budget: int, classes: int) -> None:
        self.classes, self.depth = classes, int(draw.choice([2, 2, 2, 2, 3]))
        modes = int(draw.integers(1, 7))
        singular = np.arange(1, modes + 1) ** -draw.uniform(0, 1.8) * np.exp(draw.normal(0, 0.15, modes))
        self.copies = np.exp(draw.uniform(np.log(3), np.log(100), modes))
        share = self.copies * singular**2
        self.p = (1 - log_uniform(draw, 3e-3, 0.4)) * share / share.sum()
        u = log_uniform(draw, 0.03, 0.65)
        w = log_uniform(draw, 1e-10, 0.1) if self.depth == 2 else log_uniform(draw, 3e-3, 0.25)
        self.opposite = 2 * np.log(u)
        ws = w * np.exp(draw.normal(0, 0.3, modes))
        self.start = np.log(np.concatenate([ws, np.full(GROUPS, u)]))
        self.floor = np.exp(self.start) * log_uniform(draw, 1e-3, 0.1)  # noise of the gradients: decay ends here
        speed = np.log(1 / u) / log_uniform(draw, 20, 1500)
        self.g = speed * log_uniform(draw, 1, 20) * singular / singular.max()
        self.decay = speed * log_uniform(draw, 5e-3, 0.5)
        self.capacity = log_uniform(draw, 0.25, 25)
        top = 1 - min(self.capacity, 1) * (np.arange(GROUPS) + 0.5) / GROUPS
        self.z = speed * np.exp(draw.uniform(0.1, 1.2) * ndtri(top))
        self.noise, self.crosstalk = log_uniform(draw, 0.05, 0.3), log_uniform(draw, 0.01, 0.5)
        kept, when = log_uniform(draw, 0.003, 0.8), budget * log_uniform(draw, 0.05, 3)
        self.change, self.kept = (when, kept) if draw.random() < 0.17 else (np.inf, 1.0)
        size = np.mean(2 / self.z) * log_uniform(draw, 0.03, 30)
        stays = draw.random()
        self.steps = np.unique(np.concatenate([dense_steps(10 * budget, STEPS), dense_steps(budget, STEPS // 2)]))
        before = self.steps < self.change
        if not before.all():
            after = self.change + dense_steps(10 * budget - self.change, STEPS // 4)
            self.steps = np.unique(np.append(self.steps, after))
            before = self.steps <= self.change
        path = self.descend(self.start, self.steps[before], 1.0)
        if not before.all():
            later = self.descend(path[-1], np.append(self.change, self.steps[~before]), self.kept)
            path = np.concatenate([path, later[1:]])
        kept_now = np.where(before, 1.0, self.kept)
        weights = np.minimum(self.capacity / kept_now, 1) / GROUPS
        self.read(path, weights)
        own = kept_now * weights * (2 * (self.u**2 + self.v**2) / self.z).sum(1)
        shared = (self.depth * self.p * self.w**2 / self.g).sum(1)
        idle = size * (stays + (1 - stays) * np.exp(-2 * self.decay * self.steps))
        self.norm = np.sqrt(own + shared + idle)

    def descend(self, start: np.ndarray, steps: np.ndarray, kept: float) -> np.ndarray:
        """Logarithms of w and u at the steps; the first step is that of the start."""
        n, d, p, g, decay, floor = len(self.p), self.depth, self.p, self.g, self.decay, self.floor
        z, weight = self.z / kept, min(self.capacity / kept, 1) / GROUPS

        def slope(t: float, x: np.ndarray) -> np.ndarray:
            s = np.exp(x)
            a, b = s[:n] ** d, s[n:] ** 2 - self.against(t, x[n:]) ** 2
            gain = np.concatenate([g * s[:n] ** (d - 2) * (1 - a - weight * b.sum()), z * (1 - p @ a - b)])
            return gain - decay * (1 - floor / s)

        def jacobian(t: float, x: np.ndarray) -> np.ndarray:
            s = np.exp(x)
            a, plus, minus, pull = s[:n] ** d, s[n:] ** 2, self.against(t, x[n:]) ** 2, g * s[:n] ** (d - 2)
            b, both = plus - minus, plus + minus
            j = np.empty((len(x), len(x)))
            own = np.concatenate([(d - 2) * pull * (1 - a - weight * b.sum()) - d * pull * a, -2 * z * both])
            j[:n, :n], j[n:, n:] = 0, 0
            j[:n, n:], j[n:, :n] = -2 * weight * np.outer(pull, both), -d * np.outer(z, p * a)
            np.fill_diagonal(j, own - decay * floor / s)
            return j

        if len(steps) < 2:
            return start[None]
        return odeint(slope, start, steps, tfirst=True, Dfun=jacobian, rtol=1e-6, atol=1e-6, mxstep=20_000)

    def against(self, t: float | np.ndarray, log_u: np.ndarray) -> np.ndarray:
        """v: the gradient keeps the product u v, and decay shrinks it."""
        return np.exp(self.opposite - 2 * self.decay * t - log_u)

    def read(self, path: np.ndarray, weights: np.ndarray) -> None:
        """Accuracies from the strengths; `weights` is each group's share of the examples at each step."""
        self.w, self.u = np.exp(path[:, : len(self.p)]), np.exp(path[:, len(self.p) :])
        self.v = self.against(self.steps[:, None], path[:, len(self.p) :])
        a, b = self.w**self.depth, self.u**2 - self.v**2
        signal, overlap = a @ self.p, (a**2) @ (self.p**2 / self.copies)
        rest = 1 - GROUPS * weights
        cross = self.crosstalk**2 * weights * (b**2).sum(1)
        self.val = self.accuracy(signal / np.sqrt(self.noise**2 + overlap + cross))
        fitted = np.clip(b / (1 - signal)[:, None], 0, 1)  # a direction fits what the modes leave, overlaps too
        spread = np.sqrt(self.noise**2 + overlap[:, None] * (1 - fitted) ** 2)
        known = self.accuracy((signal[:, None] + b) / spread).sum(1)
        self.train = weights * known + rest * self.accuracy(signal / np.sqrt(self.noise**2 + overlap))
        c = 1 / self.classes
        self.memorized = weights * (self.accuracy(b / self.noise) - c).sum(1) / (1 - c)
        most = self.accuracy(np.maximum(1 - self.decay / self.z, 0) / self.noise)
        self.memory_alone = float(min(self.capacity, 1) * (most.mean() - c) / (1 - c))

    def accuracy(self, margin: np.ndarray) -> np.ndarray:
        return np.interp(margin, *by_margin(self.classes))

    def curves(self, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return tuple(np.interp(steps, self.steps, curve) for curve in (self.train, self.val, self.norm))


def family(draw: np.random.Generator, n: int) -> Iterator[Parent]:
    for _ in range(n):
        budget, size = int(log_uniform(draw, 5e3, 1e5)), sizes(draw)
        chance = float(draw.choice([1 / 113, 1 / 31, 0.1, 0.5]))
        run = Student(draw, budget, round(1 / chance))
        steps = dense_steps(10 * budget)
        together = is_together(
            steps,
            np.interp(steps, run.steps, run.memorized),
            *run.curves(steps),
            chance=chance,
            n_train=size["n_train"],
            memory_alone=run.memory_alone,
        )
        yield Parent(family="saddles", curves=run.curves, budget=budget, chance=chance, together=together, **size)
