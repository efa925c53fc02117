"""The config columns of the tables: what a run's hyperparameters are called and which values stand there.

A column is the hyperparameter of the same name, with three kinds of exceptions: derived numbers (`train_fraction`,
`chance_accuracy`, ...), defaults that follow another field (an embedding without a learning rate of its own shows the
one in effect), and fields that a run does not use, which are null.
"""

import functools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from trainers import own_code
from trainers.config import FOLLOWS, WHEREABOUTS, RunConfig
from trainers.members import parse_members
from trainers.models.layout import parameter_count
from trainers.tasks import build, table_size, val_size
from trainers.tasks.shapes import SEQUENCES, has_accuracy, has_symbols

if TYPE_CHECKING:
    import pyarrow as pa

CONFIG_COLUMNS = (
    "task", "task_kind", "modulus", "model", "width", "depth", "heads", "init_scale", "optimizer", "learning_rate",
    "weight_decay", "embedding_learning_rate", "embedding_weight_decay", "beta1", "beta2", "batch_size", "dropout",
    "label_noise", "train_size", "train_fraction", "val_size", "steps", "seed", "chance_accuracy", "n_parameters",
)  # fmt: skip
"""In every table of every sweep, in this order; other fields follow where a sweep varies them."""


def column_names(varying: Iterable[str]) -> tuple[str, ...]:
    """The config columns of a sweep whose runs differ in these fields."""
    return CONFIG_COLUMNS + tuple(sorted(set(varying) - WHEREABOUTS - set(CONFIG_COLUMNS)))


def config_columns(configs: Sequence[RunConfig], names: Sequence[str]) -> dict[str, list[Any]]:
    """One value a run for each column."""
    rows = [_values(config) for config in configs]
    return {name: [row[name] for row in rows] for name in names}


def config_rows(run_ids: Sequence[str], configs: Sequence[RunConfig], names: Sequence[str]) -> "pa.Table":
    """The same as a table, with `run_id` before."""
    from results.schema import config_table

    return config_table(names, fixed={}, varying={"run_id": run_ids, **config_columns(configs, names)})


def _values(config: RunConfig) -> dict[str, Any]:
    values = config.model_dump()
    values["train_fraction"] = config.train_size / table_size(config)
    values["val_size"] = val_size(config)
    values["chance_accuracy"] = _chance_of(config)
    is_known = config.model != "code" or own_code.is_loaded(config.code_sha256)
    values["n_parameters"] = parameter_count(config) if is_known else None
    for name, other in FOLLOWS.items():
        if values[name] is None:
            values[name] = values[other]
    if config.model not in ("transformer", "code"):
        values["heads"] = None
    if not has_symbols(config) or config.task_kind in ("permutations", *SEQUENCES):
        values["modulus"] = None
    return values


_CHANCE_FIELDS = (
    "task_kind", "task", "members", "modulus", "symbols", "symmetric", "marginal_of", "folder", "file",
    "data_sha256", "input_size", "n_classes", "bits", "parity", "feature_columns", "target_columns", "n_outputs",
    "loss", "right_within", "digits", "tokens", "length", "repeated", "copies", "trigrams",
)  # fmt: skip
"""What chance depends on; beside these the seed, where it is of random labels."""


def _chance_of(config: RunConfig) -> float | None:
    if not has_accuracy(config):
        return None
    if config.task_kind == "code":  # of each table by itself; null where the code was not allowed to run
        return build(config).chance_accuracy if own_code.is_loaded(config.code_sha256) else None
    members = parse_members(config.members)
    is_random = config.task_kind == "random_labels" or (members and not any(member.has_rule for member in members))
    data_seed = config.seed_of_data if is_random else 0
    return _chance(tuple(getattr(config, name) for name in _CHANCE_FIELDS), data_seed)


@functools.lru_cache(maxsize=4096)
def _chance(values: tuple[Any, ...], data_seed: int) -> float:
    fields = dict(zip(_CHANCE_FIELDS, values, strict=True))
    return build(RunConfig(**fields, data_seed=data_seed, train_size=1, steps=1)).chance_accuracy
