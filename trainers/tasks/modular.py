"""An operation on ordered pairs over Z_p: (a, b) -> op(a, b) mod p (Power et al. 2022, Nanda et al. 2023)."""

import functools

import numpy as np

from trainers.config import RunConfig
from trainers.expressions import OPERANDS, parse
from trainers.tasks.data import Ints, Table


def all_pairs(modulus: int) -> Ints:
    """(p², 2), a the slower."""
    return np.stack(np.divmod(np.arange(modulus**2, dtype=np.int64), modulus), axis=1)


@functools.lru_cache(maxsize=64)
def labels(task: str, modulus: int) -> Ints:
    """(p²,), -1 where the operation is not defined."""
    pairs = all_pairs(modulus)
    value, defined = parse(task, OPERANDS).evaluate_mod({"a": pairs[:, 0], "b": pairs[:, 1]}, modulus)
    found = np.where(defined, value, -1)
    found.setflags(write=False)  # shared by all runs of the process
    return found


def table_size(task: str, modulus: int) -> int:
    return int((labels(task, modulus) >= 0).sum())


def table(config: RunConfig) -> Table:
    return Table(
        inputs_NT=all_pairs(config.modulus), labels_N=labels(config.task, config.modulus), n_classes=config.modulus
    )
