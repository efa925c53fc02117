"""The config columns of the tables: what a run's hyperparameters are called and which values stand there.

A column is the hyperparameter of the same name, with three kinds of exceptions: derived numbers (`train_fraction`,
`chance_accuracy`, ...), defaults that follow another field (an embedding without a learning rate of its own shows the
one in effect), and fields that a run does not use, which are null.
"""

import functools
from collections.abc import Iterable, Sequence
from typing import Any

from trainers.config import RunConfig
from trainers.models.layout import parameter_count
from trainers.tasks import build, table_size

CONFIG_COLUMNS = (
    "task", "task_kind", "modulus", "model", "width", "depth", "heads", "init_scale", "optimizer", "learning_rate",
    "weight_decay", "embedding_learning_rate", "embedding_weight_decay", "beta1", "beta2", "batch_size", "dropout",
    "label_noise", "train_size", "train_fraction", "val_size", "steps", "seed", "chance_accuracy", "n_parameters",
)  # fmt: skip
"""In every table of every sweep, in this order; other fields follow where a sweep varies them."""


def column_names(varying: Iterable[str]) -> tuple[str, ...]:
    """The config columns of a sweep whose runs differ in these fields."""
    return CONFIG_COLUMNS + tuple(sorted(set(varying) - set(CONFIG_COLUMNS)))


def config_columns(configs: Sequence[RunConfig], names: Sequence[str]) -> dict[str, list[Any]]:
    """One value a run for each column."""
    rows = [_values(config) for config in configs]
    return {name: [row[name] for row in rows] for name in names}


def _values(config: RunConfig) -> dict[str, Any]:
    values = config.model_dump()
    n_examples = table_size(config.task_kind, config.task, config.modulus)
    values["train_fraction"] = config.train_size / n_examples
    values["val_size"] = n_examples - config.train_size
    values["chance_accuracy"] = _chance(*_table_fields(config))
    values["n_parameters"] = parameter_count(config)
    for name in ("learning_rate", "weight_decay"):
        if config.__dict__[f"embedding_{name}"] is None:
            values[f"embedding_{name}"] = config.__dict__[name]
    if config.model == "toy":
        values["heads"] = None
    return values


def _table_fields(config: RunConfig) -> tuple[Any, ...]:
    """What the labels of a task's table depend on. Only random labels depend on a seed."""
    data_seed = config.seed_of_data if _is_random(config) else 0
    return config.task_kind, config.task, config.modulus, config.symmetric, data_seed


def _is_random(config: RunConfig) -> bool:
    return config.task_kind == "random_labels"


@functools.lru_cache(maxsize=4096)
def _chance(task_kind: Any, task: str, modulus: int, symmetric: bool, data_seed: int) -> float:
    config = RunConfig(
        task_kind=task_kind, task=task, modulus=modulus, symmetric=symmetric, data_seed=data_seed,
        model="toy" if task_kind == "toy_addition" else "transformer", train_size=1, steps=1,
    )  # fmt: skip
    return build(config).chance_accuracy
