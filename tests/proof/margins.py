"""Logit margins: generalizing modes and memorized margin share one residual."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from parent import Curves, Parent, is_together, log_uniform, sizes
from scipy.integrate import odeint
from scipy.special import expit, ndtr

Z = np.linspace(-6, 6, 61)
WEIGHT = np.exp(-(Z**2) / 2) / np.exp(-(Z**2) / 2).sum()


@dataclass(frozen=True, kw_only=True)
class Mechanism:
    """Margins on K classes, gradient flow on cross-entropy with weight decay.

    Mode j of the generalizing circuit is a product of two weights (Saxe et al.), a_j = p_j u v, so that
    a_j' = a_j (speed_j r (1 - a_j / s_j) - 2 decay): sigmoidal, at its own time. An example's memory is one weight (the
    lazy part), so that m' = memory r_m / cut - decay m; r is the residual (mean over the training set), r_m that of
    examples that have a memory; an example's part in the gradient is 1/n, so fewer data are memorized more efficiently
    (Varma et al.). Memory has room for a share of the training set. The right logit is sum a_j (+ m), wrong ones are
    Gaussian: unit noise, interference of the modes, clash sum a_j^2 (cosines in Nanda et al.), and, on examples that
    have no memory, a leak of what is memorized; of the modes only a part (overlap) is true beyond the training set.
    In some runs the training set is cut down at a step (ungrokking in Varma et al.); n_train is what is left of it.
    """

    classes: int
    memory: float
    share: float
    decay: float
    speed: np.ndarray
    start: np.ndarray
    strength: np.ndarray
    overlap: float
    leak: float
    clash: float
    initial_norm: float
    scale: float
    cut_at: float
    cut_to: float

    def flow(self, y: np.ndarray, _: float, cut: float) -> np.ndarray:
        m, a = y[0], np.exp(y[1:])
        need, mixed = np.log(self.classes - 1) - a.sum(), 2 + self.clash * (a @ a)
        held = expit((need - m) / np.sqrt(1 + np.pi / 8 * mixed))
        r = held
        if self.share < 1:
            mixed += 2 * self.leak**2 * self.share * m**2
            r = self.share * held + (1 - self.share) * expit(need / np.sqrt(1 + np.pi / 8 * mixed))
        out = np.empty_like(y)
        out[0] = self.memory / cut * held - self.decay * m
        out[1:] = self.speed * r * (1 - a / self.strength) - 2 * self.decay
        return out

    def solve(self, end: float) -> tuple[np.ndarray, ...]:
        """Steps, train and validation accuracy, that of training examples without memory, norm."""
        y, parts, begin = np.concatenate([[0.0], np.log(self.start)]), [], 0.0
        for until, cut in ((min(self.cut_at, end), 1.0), (end, self.cut_to)):
            if until > begin:
                grid = begin + np.expm1(np.linspace(0, np.log1p(until - begin), 500))
                path = odeint(self.flow, y, grid, args=(cut,), rtol=1e-6, atol=1e-7, mxstep=20000)
                y, begin = path[-1], until
                parts.append((grid, path, np.full(len(grid), cut)))
        steps, path, cut = (np.concatenate(part) for part in zip(*parts, strict=True))
        m, a = path[:, 0], np.exp(path[:, 1:])
        dropped = np.where(cut < 1, parts[0][1][-1, 0] * np.exp(-self.decay * np.maximum(steps - self.cut_at, 0)), 0)
        held = self.share * cut * m**2 + (1 - cut) * dropped**2
        total, square, clash = a.sum(1), (a**2).sum(1), self.clash * (a**2).sum(1)
        noise = 1 + self.leak**2 * held
        bare = self.accuracy(total, noise, noise + clash)
        train = self.share * self.accuracy(total + m, np.ones_like(m), 1 + clash) + (1 - self.share) * bare
        noise = noise + (1 - self.overlap**2) * square
        val = self.accuracy(self.overlap * total, noise, noise + self.overlap**2 * clash)
        norm = self.initial_norm**2 * np.exp(-2 * self.decay * steps) + held + 4 * self.memory * (a / self.speed).sum(1)
        return steps, train, val, bare, self.scale * np.sqrt(norm)

    def accuracy(self, margin: np.ndarray, right: np.ndarray, wrong: np.ndarray) -> np.ndarray:
        """That the right logit, N(margin, right), exceeds the largest of the others, N(0, wrong); by quadrature."""
        one = ndtr((margin[:, None] + np.sqrt(right)[:, None] * Z) / np.sqrt(wrong)[:, None])
        return one ** (self.classes - 1) @ WEIGHT

    def together(
        self, steps: np.ndarray, train: np.ndarray, val: np.ndarray, bare: np.ndarray, norm: np.ndarray, n_train: int
    ) -> bool:
        """Until a cut; by memory alone is what modes alone (examples without memory) would not have right."""
        whole, chance = steps < self.cut_at, 1 / self.classes
        memorized = (train - bare) / (1 - chance)
        parts = (x[whole] for x in (steps, memorized, train, val, norm))
        return is_together(*parts, chance=chance, n_train=n_train)


def family(draw: np.random.Generator, n: int) -> Iterator[Parent]:
    for _ in range(n):
        budget, classes = int(log_uniform(draw, 5e3, 1e5)), int(draw.choice([113, 31, 10, 2]))
        memory, modes = log_uniform(draw, 5e-4, 0.1), int(log_uniform(draw, 4, 32))
        spectrum = np.arange(1, modes + 1) ** -draw.uniform(0, 1)
        strength = log_uniform(draw, 5, 100) * spectrum / spectrum.sum()
        start = log_uniform(draw, 1e-9, 0.03) / modes * np.exp(0.5 * draw.standard_normal(modes))
        is_cut = draw.random() < 0.35
        run = Mechanism(
            classes=classes, memory=memory, decay=memory * log_uniform(draw, 2e-3, 0.1),
            share=1.0 if is_cut else min(1.0, log_uniform(draw, 0.2, 1.5)),
            speed=memory * log_uniform(draw, 0.3, 12) * spectrum,
            start=start, strength=strength, overlap=(1 + 1 / log_uniform(draw, 2, 300)) ** -0.5,
            leak=log_uniform(draw, 0.01, 0.5), clash=log_uniform(draw, 0.02, 0.5),
            initial_norm=log_uniform(draw, 0.3, 6), scale=log_uniform(draw, 1, 10),
            cut_at=budget * log_uniform(draw, 0.1, 1.5) if is_cut else np.inf,
            cut_to=log_uniform(draw, 0.005, 0.3) if is_cut else 1.0,
        )  # fmt: skip
        solved = run.solve(10.0 * budget)
        size = sizes(draw)
        together = run.together(*solved, size["n_train"])
        yield Parent(
            family="margins", curves=interpolated(*solved), budget=budget, chance=1 / classes, together=together,
            **size,
        )  # fmt: skip


def interpolated(steps: np.ndarray, train: np.ndarray, val: np.ndarray, _: np.ndarray, norm: np.ndarray) -> Curves:
    at = np.log1p(steps)

    def curves(steps: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        x = np.log1p(steps)
        return np.interp(x, at, train), np.interp(x, at, val), np.interp(x, at, norm)

    return curves
