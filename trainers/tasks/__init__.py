"""The data, one file a family. numpy only: specs are checked against the tables without torch."""

from trainers.config import RunConfig
from trainers.tasks import modular, random_labels, toy_addition
from trainers.tasks.data import Table, TaskData, finish

FAMILIES = {"modular": modular.table, "toy_addition": toy_addition.table, "random_labels": random_labels.table}


def table_size(task_kind: str, task: str, modulus: int) -> int:
    """Number of labelled examples: what train_size is a part of."""
    return modular.table_size(task, modulus) if task_kind == "modular" else SIZES[task_kind](modulus)


SIZES = {"toy_addition": toy_addition.table_size, "random_labels": random_labels.table_size}


def build(config: RunConfig) -> TaskData:
    """The table of a run, split, with the noise on its training labels."""
    return finish(FAMILIES[config.task_kind](config), config)


__all__ = ["Table", "TaskData", "build", "table_size"]
