"""Hypotheses in competition: guesses, a lookup table and the parts of rules share the belief in a task's pieces."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from parent import HELD, LEVEL, Parent, held_before, least_part, log_uniform, sizes
from scipy.special import exprel

PIECES, GRID, BLOCK = 37, 500, 64  # up to 12 sub-tasks of 3 parts, and the irregular examples


@dataclass
class Task:
    """Constants of one run. A piece is what one part of one sub-task's rule explains."""

    budget: int
    chance: float
    share: np.ndarray  # of the training set, for each piece
    shown: np.ndarray  # of the validation set
    speed: np.ndarray  # at which a piece's rule is found under full evidence, 1 / steps; 0: there is no rule
    cost: np.ndarray  # of the rule, in the price of a table of the piece
    after: np.ndarray  # the piece whose rule must come before; -1: none
    gate: float  # how far a part can be found without the one before
    spread: float  # how much the rules found speed up the others
    fill: float  # speed of the table
    heat: float  # of a table's entry
    sharp: float  # evidence of the whole set in units of the temperature
    prior: float  # log odds against a rule
    price: float  # of a table's entry (weight decay), in units of the loss it saves
    room: float  # entries that fit, by size of the training set
    change: float  # step of it, and then factors of price and data
    dearer: float
    more: float
    leak: float  # what a table tells of unseen examples
    start: float  # squared norm at the start, in entries, and its decay
    decay: float


def draw_task(draw: np.random.Generator) -> Task:
    budget = int(log_uniform(draw, 5e3, 1e5))
    tasks, parts = int(log_uniform(draw, 1, 13)), int(draw.integers(1, 4))
    odd = draw.uniform(0, 0.5) if draw.random() < 0.4 else 0.0
    wrong_labels = draw.random() < 0.4  # the irregular examples are in the training set alone
    used = tasks * parts
    weights = draw.dirichlet(np.full(tasks, 3.0))[:, None] * draw.dirichlet(np.full(parts, 2.0))[None]
    barriers = draw.normal(0, draw.uniform(0, 2), tasks)[:, None] + draw.normal(0, 0.3, (tasks, parts))
    dearness = draw.normal(0, draw.uniform(0, 0.8), tasks)[:, None] + draw.normal(0, draw.uniform(0, 0.8), parts)[None]
    share, speed, cost, after = np.zeros(PIECES), np.zeros(PIECES), np.ones(PIECES), np.full(PIECES, -1)
    share[:used], share[-1] = (1 - odd) * weights.ravel(), odd
    shown = share.copy()
    if wrong_labels:
        shown[:used], shown[-1] = weights.ravel(), 0
    speed[:used] = np.exp(-barriers).ravel() / log_uniform(draw, 30, 1e5)
    cost[:used] = np.exp(dearness).ravel() * log_uniform(draw, 0.03, 2)
    after[:used] = np.where(np.arange(used) % parts, np.arange(used) - 1, -1)
    price = log_uniform(draw, 3e-3, 1.5)
    fill = 1 / log_uniform(draw, 15, 3e3)
    kind = draw.choice(["none", "price", "data"], p=[0.5, 0.15, 0.35])
    return Task(
        budget, float(draw.choice([1 / 113, 1 / 31, 0.1, 0.5])), share, shown, speed, cost, after,
        gate=log_uniform(draw, 1e-3, 1), spread=log_uniform(draw, 0.3, 300), fill=fill,
        heat=log_uniform(draw, 0.03, 0.3), sharp=log_uniform(draw, 30, 3e3), prior=draw.uniform(0, 5), price=price,
        room=log_uniform(draw, 0.15, 3), change=budget * log_uniform(draw, 0.1, 2),
        dearer=log_uniform(draw, 0.03, 30) if kind == "price" else 1.0,
        more=log_uniform(draw, 0.03, 3) if kind == "data" else 1.0,
        leak=draw.normal(0.01, 0.015), start=log_uniform(draw, 0.01, 0.5),
        decay=fill * price * log_uniform(draw, 0.01, 1),
    )  # fmt: skip


def drift(x: np.ndarray) -> np.ndarray:
    """x / (1 - exp(-x)), Kimura's rate of fixation: drift(x) / drift(-x) = exp(x)."""
    return 1 / exprel(-np.clip(x, -600, 600))


def integrate(tasks: list[Task], rules: bool = True) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Grid of steps, belief in tables and in rules; steps first, then runs, then pieces. Implicit in the room left."""

    def column(name: str) -> np.ndarray:
        return np.array([getattr(task, name) for task in tasks], float)[:, None]

    share, shown, cost0, after = (np.stack([getattr(t, k) for t in tasks]) for k in ("share", "shown", "cost", "after"))
    speed = np.stack([t.speed for t in tasks]) * rules
    if not rules:  # all pieces are alike
        share, after = np.ones((len(tasks), 1)), np.full((len(tasks), 1), -1)
        shown, cost0, speed = shown[:, :1], cost0[:, :1], speed[:, :1]
    change, end, unit = column("change"), 10 * column("budget"), np.linspace(0, 1, GRID)
    first = np.expm1(unit * np.log1p(change))
    second = change + 1e-3 + np.expm1(unit * np.log1p(end - change - 1e-3))
    grid = np.concatenate([first, second], axis=1).T
    table, rule = np.zeros((2, 2 * GRID, len(tasks), share.shape[1]))
    t, r = table[0], rule[0]
    more, price, cost, sharp, room = np.ones((len(tasks), 1)), column("price"), cost0, column("sharp"), column("room")
    heat, fill, gate = column("heat"), column("fill"), column("gate")
    for i in range(1, 2 * GRID):
        if i == GRID:
            more, price = column("more"), price * column("dearer")
            cost, sharp, room, t = cost0 / more, sharp * more, room / more, (t / np.maximum(more, 1))
        if i in (1, GRID):
            of_table, of_rule = 1 - price, 1 - price * cost - column("prior") / sharp
            into, out = (fill * heat * drift(sign * of_table / heat) for sign in (1, -1))
            find, lose = (speed / sharp * drift(sign * sharp * of_rule) for sign in (1, -1))
            swap, back = (speed / sharp * drift(sign * sharp * (of_rule - of_table)) for sign in (1, -1))
        dt = (grid[i] - grid[i - 1])[:, None]
        before = np.where(after < 0, 1, np.take_along_axis(r, np.maximum(after, 0), axis=1))
        ease = dt * (gate + (1 - gate) * before) * (1 + column("spread") * (shown * r).sum(1, keepdims=True))
        find_dt, swap_dt, lose_dt, back_dt = ease * find, ease * swap, ease * lose, ease * back
        low, high = np.full((len(tasks), 1), -16.0), np.zeros((len(tasks), 1))
        enter, a0, d0 = dt * into, 1 + dt * out + swap_dt, 1 + find_dt + lose_dt
        c, f, net = find_dt - swap_dt, r + find_dt, enter - back_dt
        for _ in range(13):  # bisects for the log of the share of room left
            middle = (low + high) / 2
            left = np.exp(middle)
            a, b, d, e = a0 + enter * left, net * left, d0 + left * back_dt, t + enter * left
            new_t = (e * d - b * f) / (a * d - b * c)
            full = (share * new_t).sum(1, keepdims=True) > room * (1 - left)
            low, high = np.where(full, low, middle), np.where(full, middle, high)
        t, r = np.clip(new_t, 0, 1), np.clip((a * f - c * e) / (a * d - b * c), 0, 1)
        table[i], rule[i] = t, r
    return grid, table, rule


def to_parent(
    task: Task, steps: np.ndarray, table: np.ndarray, rule: np.ndarray, memory: np.ndarray, n: dict[str, int]
) -> Parent:
    chance = task.chance
    train = chance + (1 - chance) * (table + rule) @ task.share
    val = chance + (1 - chance) * (rule + task.leak * table) @ task.shown
    entries, later = table @ task.share, np.arange(2 * GRID) >= GRID
    stale = later * entries[GRID - 1] * max(0, 1 - task.more)  # entries of data taken away fade
    stale = stale * np.exp(-task.fill * task.price * task.dearer * np.maximum(0, steps - task.change))
    size = stale + entries * np.where(later, task.more, 1) + rule @ (task.share * task.cost)
    norm = np.sqrt(0.02 + task.start * np.exp(-task.decay * steps) + size)

    def curves(at: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return np.interp(at, steps, train), np.interp(at, steps, val), np.interp(at, steps, norm)

    return Parent(
        family="hypotheses", curves=curves, budget=task.budget, chance=chance, **n,
        together=is_together(chance, steps, train, val, norm, memory[:, 0], n["n_train"]),
    )  # fmt: skip


def is_together(
    chance: float,
    steps: np.ndarray,
    train: np.ndarray,
    val: np.ndarray,
    norm: np.ndarray,
    memory: np.ndarray,
    n_train: int,
) -> bool:
    """Huang et al.'s progression; memory is that of the same run without rules."""
    rescaled = (val - chance) / (1 - chance)
    if rescaled.max() < 0.05:
        return False
    show = int((rescaled >= 0.05).argmax())
    top = max(show, int((rescaled >= 0.9 * rescaled.max()).argmax()))
    stalled = np.interp(steps[show] / 3, steps, np.maximum.accumulate(memory)) >= HELD * held_before(
        steps, memory, show
    )
    short = (
        memory[show] >= least_part(n_train)
        and train[show] < LEVEL
        and stalled
        and chance + (1 - chance) * memory.max() < 0.9
    )
    gains = train[show : top + 1].max() - train[show] >= 0.1
    return bool(short and gains and norm[show : top + 1].min() >= 0.95 * norm[show])


def family(draw: np.random.Generator, n: int) -> Iterator[Parent]:
    """Training as a slow search over hypotheses, in a master equation for the mean belief (an ensemble of networks).

    A task falls into sub-tasks, each with a rule of one to three parts; each piece is guessed, looked up or ruled. A
    hypothesis is worth the loss it saves less its complexity times a price (weight decay): a table's entry costs the
    same for each example, a rule the same for any amount of data (Varma et al. 2023: efficiency, critical size).
    Belief flows along differences of worth at Kimura's rate of fixation (the weak-mutation limit of replicator
    dynamics), which has the Gibbs posterior of each pair as its rest: fast for single entries, slow for whole rules,
    with a barrier drawn for each, a part waiting for the one before it, and rules found speeding up the others
    (nucleation and growth). All entries share a finite room (a Langmuir isotherm): a full table stalls, and what
    rules free is filled again (Huang et al. 2024). At some step price or data may change (ungrokking); some
    examples may have no rule.
    """
    for begin in range(0, n, BLOCK):
        made = [(draw_task(draw), sizes(draw)) for _ in range(min(BLOCK, n - begin))]
        tasks = [task for task, _ in made]
        grid, table, rule = integrate(tasks)
        _, memory, _ = integrate(tasks, rules=False)
        for i, (task, size) in enumerate(made):
            yield to_parent(task, grid[:, i], table[:, i], rule[:, i], memory[:, i], size)
