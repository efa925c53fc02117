"""From a table of labelled examples to the data of one run: split, label noise, chance.

The table is complete: every input that the symbols allow, in a fixed order, so that runs whose tasks share the symbols
share the inputs tensor. Legend: N examples of the table, T operands of an example, C classes, D training examples.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trainers.config import RunConfig
from trainers.streams import generator

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Table:
    inputs_NT: Ints
    labels_N: Ints
    """-1 where the operation is not defined (a division by zero): such an example is in neither set."""
    n_classes: int
    target_vectors_CK: npt.NDArray[np.float32] | None = None
    """Regression: the vector that stands for each class."""


@dataclass(frozen=True, kw_only=True)
class TaskData:
    inputs_NT: Ints
    labels_N: Ints
    """Labels as trained and evaluated: with noise on training examples, true elsewhere."""
    train_D: Ints
    """Indices of the training set. Nested: at equal data_seed a smaller set is a prefix of a larger one."""
    val_V: Ints
    n_classes: int
    target_vectors_CK: npt.NDArray[np.float32] | None
    chance_accuracy: float
    """The better of guessing uniformly and always naming the commonest label of the table."""

    @property
    def n_examples(self) -> int:
        return len(self.train_D) + len(self.val_V)


def finish(table: Table, config: RunConfig) -> TaskData:
    defined = np.flatnonzero(table.labels_N >= 0)
    order = generator(config.seed_of_data, "split").permutation(defined)
    train_D = order[: config.train_size]
    return TaskData(
        inputs_NT=table.inputs_NT,
        labels_N=_with_noise(table, train_D, config.label_noise, config.seed_of_data),
        train_D=train_D,
        val_V=np.sort(order[config.train_size :]),
        n_classes=table.n_classes,
        target_vectors_CK=table.target_vectors_CK,
        chance_accuracy=chance_accuracy(table.labels_N[defined], table.n_classes),
    )


def chance_accuracy(labels: Ints, n_classes: int) -> float:
    return float(max(1 / n_classes, np.bincount(labels).max() / len(labels)))


def _with_noise(table: Table, train_D: Ints, share: float, data_seed: int) -> Ints:
    """Each training label is drawn anew with this probability: per table entry, so that the noise nests with D."""
    if not share:
        return table.labels_N
    rng = generator(data_seed, "label_noise")
    is_noisy = rng.random(len(table.labels_N)) < share
    drawn = rng.integers(0, table.n_classes, len(table.labels_N))
    labels = table.labels_N.copy()
    noisy = train_D[is_noisy[train_D]]
    labels[noisy] = drawn[noisy]
    return labels
