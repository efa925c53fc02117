"""Sequences of tokens (Nanda et al. 2023): of endless many a finite sample, or fresh ones for each step.

Every data_seed draws examples of its own: those for validation first, then the training set, so that a smaller one is a
prefix of a larger one and all are validated alike. Infinite data are a training set that is drawn anew for each step,
by (data_seed, step) and nothing else; validation is then the same fixed sample.

N examples, T tokens, R places that may have a label.
"""

from collections.abc import Callable

import numpy as np

from trainers.config import RunConfig
from trainers.streams import generator, generator_at
from trainers.tasks import digit_addition, repeated_subsequence, skip_trigram
from trainers.tasks.data import Ints, Table
from trainers.tasks.shapes import n_classes

VAL_SIZE = 1_000
MOST_COUNTED = 2**62
"""Sizes above are given as this."""

Draw = Callable[[np.random.Generator, int, RunConfig], tuple[Ints, Ints]]
"""(N, T) tokens and (N, R) labels, -1 where there is none, or (N,) labels. Smaller draws are prefixes of larger."""

DRAWS: dict[str, Draw] = {
    "digit_addition": digit_addition.draw,
    "repeated_subsequence": repeated_subsequence.draw,
    "skip_trigram": skip_trigram.draw,
}


def val_size(config: RunConfig) -> int:
    return VAL_SIZE if config.val_size is None else config.val_size


def table(config: RunConfig) -> Table:
    """Of fresh data: the examples for validation, then those of the first step."""
    n_val = val_size(config)
    draw = DRAWS[config.task_kind]
    tokens_NT, labels_N = draw(generator(config.seed_of_data, config.task_kind), _n_drawn(config), config)
    if config.fresh:
        first = fresh(config, 0)
        tokens_NT, labels_N = (np.concatenate(pair) for pair in zip((tokens_NT, labels_N), first, strict=True))
    rows = np.arange(len(tokens_NT))
    return Table(
        inputs_NT=tokens_NT,
        labels_N=labels_N,
        n_classes=n_classes(config),
        split=(rows[n_val:], rows[:n_val]),
        chance_accuracy=chance_accuracy(config),
    )


def _n_drawn(config: RunConfig) -> int:
    return val_size(config) + (0 if config.fresh else config.largest_train_size)


def fresh(config: RunConfig, step: int) -> tuple[Ints, Ints]:
    """The training set of a step, counted from 0."""
    rng = generator_at(config.seed_of_data, f"{config.task_kind}/fresh", step)
    return DRAWS[config.task_kind](rng, config.train_size, config)


def chance_accuracy(config: RunConfig) -> float:
    """Of naming, at each place, its commonest token."""
    if config.task_kind == "digit_addition":
        return digit_addition.chance_accuracy(config.digits)
    return 1 / n_classes(config)


def table_size(config: RunConfig) -> int:
    """Sequences that there are, placements and skip_trigram's kinds left out; what train_size is a part of."""
    is_noise = config.task_kind == "skip_trigram"
    n_free = config.length if is_noise else max(1, config.length - (config.copies - 1) * config.repeated)
    found: int = 10 ** (2 * config.digits) if config.task_kind == "digit_addition" else config.tokens**n_free
    return min(MOST_COUNTED, found)
