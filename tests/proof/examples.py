"""Examples as a population: each is memorized and forgotten on its own; shared rules feed on what is unexplained."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from parent import Curves, Parent, is_together, log_uniform, sizes
from scipy.integrate import odeint
from scipy.special import expit, ndtri

N_HARD = 12
HARD = ndtri((np.arange(N_HARD) + 0.5) / N_HARD)


@dataclass(frozen=True, kw_only=True)
class Mechanism:
    """A master equation for single examples, coupled to one to three shared rules.

    An example of rate `a` is held in memory with chance `m`: writing is driven by its own error u = (1 - m)(1 - R) and
    needs a free slot, or else overwrites a slot at random (palimpsest memory; forgetting events, Toneva et al. 2019,
    Tirumala et al. 2022; capacity, Huang et al. 2024); weight decay erases slots, and one whose example a rule explains
    is not written again. A rule of log strength L explains its cluster with chance R = expit(sharp * L); it grows
    multiplicatively (Saxe et al.) by the summed error of the cluster and decays under weight decay down to its seed.
    So the rule outcompetes memory where gain * share of the data exceeds the rates `a` (circuit efficiency and critical
    data size, Varma et al. 2023): at a speed set by weight decay if all is memorized, by the rest if memory is short.
    At `change` the training set is cut or extended by `factor`, or weight decay multiplied by `press`.
    """

    share: np.ndarray  # of the training set: each rule's cluster, and last the exceptions that no rule explains
    covers: np.ndarray  # of the validation set: each rule's cluster
    rates: np.ndarray
    capacity: float
    overwrite: float
    gain: np.ndarray
    seed: np.ndarray
    sharp: float
    decay: float
    rule_decay: float
    change: float
    factor: float
    press: float
    near: float  # validation answered right because it is near a memorized example
    misled: float  # share of lucky guesses that memory spoils
    norms: tuple[float, float, float]  # squared: of a full memory, of a rule at threshold, of the start

    def flow(self, y: np.ndarray, _: float, size: float, decay: float) -> np.ndarray:
        k, share, rates = len(self.gain), self.share / N_HARD, self.rates
        m, log_s = y[:-k].reshape(k + 1, N_HARD), y[-k:]
        missed = np.ones((k + 1, 1))
        missed[:k, 0] = expit(-self.sharp * log_s)
        error = (1 - m) * missed
        held = float(share @ m.sum(1))
        full = min(max(size * held / self.capacity, 0.0), 1.0)
        written = float(share @ (error @ rates))
        lost = decay + self.overwrite * full * written / max(held, 1e-9)
        out = np.empty_like(y)
        out[:-k] = ((1 - full + self.overwrite * full) * rates * error - lost * m).ravel()
        feed = size * self.gain * share[:k] * error[:k].sum(1)
        out[-k:] = feed - self.rule_decay * decay * (1 - np.exp(np.minimum(self.seed - log_s, 0.0)))
        return out

    def solve(self, end: float) -> tuple[np.ndarray, np.ndarray]:
        """Steps; rows: memorized, lifted by rules, rules in validation, strength squared, size, decay, left."""
        k = len(self.gain)
        cut = min(self.change, end)
        y, left, steps, rows = np.append(np.zeros((k + 1) * N_HARD), self.seed), 0.0, [], []
        for start, stop, size, decay in [(0.0, cut, 1.0, self.decay), (cut, end, self.factor, self.decay * self.press)]:
            if stop <= start:
                continue
            if start > 0:
                y = np.append(y[:-k] / max(size, 1.0), y[-k:])  # what is new is not memorized
                left = max(1 - size, 0.0) * rows[0][0][-1]  # slots of removed examples: erased by weight decay
            span = stop - start
            t = np.unique(np.append(np.expm1(np.linspace(0, np.log1p(span), 600)), np.linspace(0, span, 300)))
            ys = odeint(self.flow, y, t, (size, decay), rtol=1e-5, atol=1e-7, mxstep=20_000)
            m, log_s = ys[:, :-k].reshape(len(t), k + 1, N_HARD).mean(2), ys[:, -k:]
            right = expit(self.sharp * log_s)
            lifted = ((1 - m[:, :k]) * right) @ self.share[:k]
            past = 0.0 if start == 0 else self.decay * start
            rows.append(
                [
                    m @ self.share,
                    lifted,
                    right @ self.covers,
                    np.exp(2 * log_s).sum(1),
                    np.full(len(t), size),
                    past + decay * t,
                    left * np.exp(-decay * t),
                ]
            )
            steps.append(start + t + (1e-6 * start if start > 0 else 0.0))
            y = ys[-1]
        return np.concatenate(steps), np.concatenate(rows, axis=1)

    def values(self, rows: np.ndarray, chance: float) -> np.ndarray:
        held, lifted, right, strength, size, decayed, left = rows
        stored = np.clip(held * size, 0, 1)
        guess = chance * (1 - self.misled * stored) + (1 - chance) * self.near * stored
        memory, rule, start = self.norms
        norm = np.sqrt(memory * (held * size + left) + rule * strength + start * np.exp(-2 * decayed))
        return np.array([chance + (1 - chance) * (held + lifted), right + (1 - right) * guess, norm])

    def together(self, steps: np.ndarray, rows: np.ndarray, values: np.ndarray, chance: float, n_train: int) -> bool:
        """Memory alone is the same run without rules, and without the change."""
        if not is_together(steps, rows[0], *values, chance=chance, n_train=n_train, memory_alone=0.0):
            return False
        alone = replace(self, gain=0 * self.gain, change=np.inf).solve(steps[-1])[1]
        most = float(alone[0].max())
        return is_together(steps, rows[0], *values, chance=chance, n_train=n_train, memory_alone=most)


def draw_mechanism(draw: np.random.Generator, budget: int) -> Mechanism:
    k = int(draw.choice([1, 2, 3], p=[0.4, 0.35, 0.25]))
    parts = draw.dirichlet(np.full(k, 1.5))
    odd = 0.5 * draw.beta(0.4, 3)
    rate = log_uniform(draw, 6, 2000) / budget
    change = log_uniform(draw, 0.1, 1.5) * budget if draw.random() < 0.6 else np.inf
    kind = draw.choice(["cut", "extend", "press"], p=[0.75, 0.1, 0.15])
    factor = {"cut": log_uniform(draw, 0.01, 0.8), "extend": log_uniform(draw, 1.2, 4), "press": 1.0}[kind]
    return Mechanism(
        share=np.append(parts * (1 - odd), odd),
        covers=parts * (1 - odd * draw.choice([0, 1])),
        rates=rate * np.exp(draw.uniform(0.2, 1.6) * HARD),
        capacity=log_uniform(draw, 0.15, 20),
        overwrite=log_uniform(draw, 1e-4, 1),
        gain=rate * log_uniform(draw, 0.4, 25) * np.exp(draw.normal(size=k)),
        seed=-draw.uniform(1.5, 10, size=k),
        sharp=draw.uniform(2, 6),
        decay=rate * log_uniform(draw, 1e-3, 0.3),
        rule_decay=log_uniform(draw, 0.3, 2),
        change=change,
        factor=factor,
        press=log_uniform(draw, 0.05, 30) if kind == "press" else 1.0,
        near=max(0.0, 0.05 * draw.normal()),
        misled=draw.uniform(0, 0.15),
        norms=(log_uniform(draw, 0.3, 3), log_uniform(draw, 0.03, 3), draw.uniform(0, 1)),
    )


def family(draw: np.random.Generator, n: int) -> Iterator[Parent]:
    for _ in range(n):
        budget = int(log_uniform(draw, 5e3, 1e5))
        chance = float(draw.choice([1 / 113, 1 / 31, 0.1, 0.5]))
        mechanism = draw_mechanism(draw, budget)
        steps, rows = mechanism.solve(10.0 * budget)
        values = mechanism.values(rows, chance)
        size = sizes(draw)
        yield Parent(
            family="examples",
            curves=interpolated(steps, values),
            budget=budget,
            chance=chance,
            together=mechanism.together(steps, rows, values, chance, size["n_train"]),
            **size,
        )


def interpolated(steps: np.ndarray, values: np.ndarray) -> Curves:
    return lambda at: tuple(np.interp(at, steps, row) for row in values)
