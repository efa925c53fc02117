"""Representation and decoder: structured embeddings against a memorizing decoder, after Liu et al. 2022."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from parent import HELD, LEVEL, Curves, Parent, held_before, least_part, log_uniform, sizes


@dataclass(frozen=True, kw_only=True)
class Constants:
    """What a run keeps from start to end; rates are per step."""

    budget: int
    tokens: int
    share: float  # of the table's pairs that are trained on
    embedding: float  # rate of the stiffest mode under the full table
    memory: float
    readout: float
    decay: float
    stir: float  # rate at which gradient noise (at residual 1) turns embeddings back to random ones
    capacity: float  # what memory can hold, in training sets (of before the cut)
    width: int  # of the embeddings, even
    reach: float  # how far from its label's centre a pair is still read right, in embedding scales
    half: float  # decoder strength at which half of what it holds is right
    steep: float
    weights: tuple[float, float]  # squared norm of memory and of readout, in those of the embeddings
    cut: float  # step at which all but `kept` of the training pairs are taken away
    kept: float


@dataclass
class Run:
    steps: np.ndarray
    train: np.ndarray
    val: np.ndarray
    norm: np.ndarray
    memorized: np.ndarray  # share right by memory had there never been structure
    memorizable: np.ndarray  # what that would come to, if the training set stayed as it is at the step


def family(draw: np.random.Generator, n: int) -> Iterator[Parent]:
    """Addition on a table of p tokens, with a linear effective theory of the embeddings (Liu et al. 2022, section 3).

    Each two training pairs of one sum pull their embedding sums together, so the embeddings' covariance C obeys
    C' = g (2 stir (1 - C) - HC - CH), H the (real, sampled) parallelogram matrix of the training pairs, at fixed norm;
    few pairs leave slow or free modes, which noise keeps random. A pair is right by structure if its sum lies within
    `reach` of the mean sum of its label's (other) training pairs, which has a chi-square probability P, and if the
    readout w is strong; by memory if its own strength u is, and it is among those that the capacity holds. All share
    one residual r_i = (1 - K u_i)(1 - P_i w): its mean is g, and w' = readout <P_i (1 - K u_i)> (1 - w) - decay w,
    u_i' = memory (1 - P_i w)(1 - u_i) - decay u_i, K the share of the pairs without structure that memory has room
    for; so a decoder that memorizes all starves the embeddings but for what decay leaves (memorization, or grokking),
    and strong decay stops both ways of fitting (confusion). Structure may be lost when most of the training set is
    removed, for modes that nothing holds any more drift in the noise (after Varma et al. 2023).
    """
    for _ in range(n):
        k = constants(draw)
        run, chance = integrate(k, draw), 1 / (2 * k.tokens - 1)
        size = sizes(draw)
        yield Parent(
            family="representation and decoder", curves=between(run, chance), budget=k.budget, chance=chance,
            together=is_together(run, chance, size["n_train"]), **size,
        )  # fmt: skip


def constants(draw: np.random.Generator) -> Constants:
    budget = int(log_uniform(draw, 5e3, 1e5))
    memory = 1 / (budget * log_uniform(draw, 0.001, 0.3))
    embedding = log_uniform(draw, 10, 5e4) / budget
    cut = log_uniform(draw, 0.1, 5) if draw.random() < 0.6 else np.inf
    return Constants(
        budget=budget, tokens=int(draw.integers(10, 18)), share=draw.uniform(0.5, 0.95), embedding=embedding,
        memory=memory, readout=memory * log_uniform(draw, 0.3, 100), decay=memory * log_uniform(draw, 1e-3, 0.7),
        stir=embedding * log_uniform(draw, 1e-6, 0.01), capacity=log_uniform(draw, 0.25, 3),
        width=2 * int(draw.integers(2, 6)), reach=log_uniform(draw, 0.1, 0.5), half=draw.uniform(0.2, 0.6),
        steep=draw.uniform(2, 6), weights=(log_uniform(draw, 0.3, 30), log_uniform(draw, 0.1, 10)), cut=cut * budget,
        kept=draw.uniform(0.05, 0.7),
    )  # fmt: skip


def integrate(k: Constants, draw: np.random.Generator) -> Run:
    """Exponential steps (exact while the residual stands still), short where the curves or the residual move."""
    left, right = np.triu_indices(k.tokens)
    label, one, middle = left + right, np.eye(k.tokens), k.half**k.steep
    sums = one[left] + one[right]
    order = draw.permutation(len(label))
    n = max(3, round(k.share * len(label)))
    n_kept = max(2, round(k.kept * n))
    away = offsets(sums[order], label[order], n)
    anchored = away.any(axis=1)
    stiffest = np.linalg.eigvalsh(pull(sums, label))[-1]

    def modes(n_now: int) -> tuple[np.ndarray, np.ndarray]:
        rates, basis = np.linalg.eigh(pull(sums[order[:n_now]], label[order[:n_now]]) / stiffest)
        return np.maximum(rates, 0), basis

    def shown(strength: np.ndarray) -> np.ndarray:
        power = strength**k.steep
        return power * (1 + middle) / (power + middle)

    rates, basis = modes(n)
    tilted, cov, u, w, n_now = away @ basis, np.eye(k.tokens), np.zeros(n), 0.0, n
    t, dt, end, logged, before = 0.0, 1e-4 * k.budget, 10.0 * k.budget, [], None
    held = min(1.0, k.capacity)  # chance that memory has room for a pair; room that comes free fills up slowly
    while True:
        scale = cov.trace() / k.tokens
        spread = np.maximum(((tilted @ cov) * tilted).sum(axis=1) / scale, 1e-12)
        right_by = anchored * within(k.width * k.reach**2 / (2 * spread), k.width)
        p, p_val = right_by[:n_now], right_by[n:]
        unheld = 1 - held * u[:n_now]
        residual = unheld @ (1 - p * w) / n_now
        train = 1 - (1 - held * shown(u[:n_now])) @ (1 - p * shown(w)) / n_now
        val = p_val.mean() * shown(w)
        most, share = k.memory / (k.memory + k.decay), min(1.0, k.capacity * n / n_now)
        alone = most * -np.expm1(-(k.memory + k.decay) * t)
        norm = np.sqrt(1 + k.weights[0] * held * (u @ u) / n + k.weights[1] * w**2)
        logged.append((t, train, val, norm, share * shown(alone), share * shown(most)))
        if t >= end:
            return Run(*np.array(logged).T)
        if t == k.cut and n_now == n > n_kept:
            rates, new = modes(n_kept)
            turn = basis.T @ new
            basis, tilted, cov, n_now = new, away @ new, turn.T @ cov @ turn, n_kept
            dt, before = 1e-4 * k.budget, None
            logged[-1] = (np.nextafter(t, 0), *logged[-1][1:])
            continue
        now = (train, val, w, residual)
        moved = 0.0 if before is None else max(abs(x - y) for x, y in zip(now, before, strict=True))
        dt = min(dt * min(max(0.01 / max(moved, 1e-9), 0.3), 1.3), 0.03 * t + 1e-4 * k.budget)
        aim = end if t >= k.cut else min(k.cut, end)
        step = aim - t if t + 1.001 * dt >= aim else dt
        gain, free, before = k.readout * (p @ unheld) / n_now, 1 - p * w, now
        lose = residual * (k.embedding * (rates[:, None] + rates) + 2 * k.stir)
        stay = np.exp(-lose * step)
        cov = cov * stay + one * (2 * residual * k.stir * (1 - stay) / lose)
        u[:n_now] = relax(u[:n_now], k.memory * free, k.decay, step)
        u[n_now:] = relax(u[n_now:], 0.0, k.decay, step)
        w = relax(w, gain, k.decay, step)
        room = min(1.0, k.capacity * n / max(free.sum(), 1e-9))
        held = room + (held - room) * np.exp(-min(k.memory * step, 0.1))  # bounded, or long steps overshoot
        t = aim if step == aim - t else t + step


def pull(sums: np.ndarray, label: np.ndarray) -> np.ndarray:
    """The matrix of the parallelograms: squared differences between all pairs of one sum."""
    total = np.zeros((sums.shape[1], sums.shape[1]))
    for x in (sums[label == s] for s in np.unique(label)):
        total += len(x) * x.T @ x - np.outer(x.sum(0), x.sum(0))
    return total


def offsets(sums: np.ndarray, label: np.ndarray, n: int) -> np.ndarray:
    """Each pair's sum, less the mean of its label's other training pairs (the first n); zeros where it has none."""
    same = (label[:, None] == label[:n]) & ~np.eye(len(label), n, dtype=bool)
    count = same.sum(axis=1, keepdims=True)
    return np.where(count > 0, sums - same @ sums[:n] / np.maximum(count, 1), 0.0)


def within(x: np.ndarray, width: int) -> np.ndarray:
    """The chi-square distribution function at 2x, for an even number of degrees of freedom."""
    term = total = np.ones_like(x)
    for i in range(1, width // 2):
        term = term * x / i
        total = total + term
    return 1 - np.exp(-np.minimum(x, 700)) * np.minimum(total, 1e300)


def relax(x: np.ndarray | float, gain: np.ndarray | float, loss: float, step: float) -> np.ndarray:
    goal = gain / (gain + loss)
    return goal + (x - goal) * np.exp(-(gain + loss) * step)


def is_together(run: Run, chance: float, n_train: int) -> bool:
    """Huang et al.'s progression, in the numbers that hold for all families."""
    top = run.val.max()
    if top < 0.1:
        return False
    shows, risen = (run.val >= 0.05).argmax(), (run.val >= 0.9 * top).argmax()
    by_memory, accuracy = run.memorized[shows], chance + (1 - chance) * run.train
    stalled = np.interp(run.steps[shows] / 3, run.steps, run.memorized) >= HELD * held_before(
        run.steps, run.memorized, int(shows)
    )
    short = chance + (1 - chance) * run.memorizable[shows : risen + 1].max() < 0.9
    gains = accuracy[shows : risen + 1].max() - accuracy[shows] >= 0.1
    kept_norm = run.norm[shows : risen + 1].min() >= 0.95 * run.norm[shows]
    return bool(
        by_memory >= least_part(n_train) and accuracy[shows] < LEVEL and stalled and short and gains and kept_norm
    )


def between(run: Run, chance: float) -> Curves:
    def curves(steps: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        at, knots = np.log1p(steps), np.log1p(run.steps)
        train, val, norm = (np.interp(at, knots, y) for y in (run.train, run.val, run.norm))
        return chance + (1 - chance) * train, chance + (1 - chance) * val, norm

    return curves
