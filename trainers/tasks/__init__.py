"""The data, one file a family. numpy only: specs are checked against the data without torch."""

from trainers.config import RunConfig
from trainers.errors import DataError
from trainers.members import parse_members
from trainers.tasks import (
    images,
    mixture,
    modular,
    own_data,
    own_task,
    permutations,
    random_labels,
    sequences,
    sparse_parity,
    subsets,
    teacher_student,
    toy_addition,
)  # fmt: skip
from trainers.tasks.data import Table, TaskData, finish, noise_names
from trainers.tasks.shapes import SEQUENCES

FAMILIES = {
    "modular": modular.table,
    "permutations": permutations.table,
    "toy_addition": toy_addition.table,
    "random_labels": random_labels.table,
    "mixture": mixture.table,
    "sparse_parity": sparse_parity.table,
    "images": images.table,
    "data": own_data.table,
    "teacher_student": teacher_student.table,
    "code": own_task.table,
    **dict.fromkeys(SEQUENCES, sequences.table),
}


def table_size(config: RunConfig) -> int:
    """Number of labelled examples to draw training sets from: what train_size is a part of. It reads TABLE_FIELDS and
    nothing else. Raises DataError, or ExpressionError for an operation that these operands do not have."""
    match config.task_kind:
        case "modular":
            return modular.table_size(config.task, config.modulus)
        case "permutations":
            return permutations.table_size(config.task, config.symbols)
        case "toy_addition":
            return toy_addition.table_size(config.modulus)
        case "random_labels":
            return random_labels.table_size(config.modulus)
        case "mixture":
            return mixture.table_size(config.members, config.modulus)
        case "sparse_parity":
            return int(2**config.bits)
        case "images":
            return images.pool_size(config.folder)
        case "data":
            return own_data.pool_size(own_data.source_of(config))
        case "teacher_student":
            return teacher_student.N_POOL
        case "code":
            return config.n_examples
    return sequences.table_size(config)


TABLE_FIELDS = (
    "task_kind", "task", "modulus", "folder", "symbols", "members", "file", "bits", "feature_columns", "target_columns",
    "n_examples", "digits", "tokens", "length", "repeated", "copies",
)  # fmt: skip
"""What the size of a table depends on."""


def val_size(config: RunConfig) -> int:
    """Number of validation examples. Raises DataError."""
    if config.task_kind in OWN_VAL_SIZE:
        return OWN_VAL_SIZE[config.task_kind](config)
    return table_size(config) - config.train_size


OWN_VAL_SIZE = {
    "mixture": mixture.val_size,
    "sparse_parity": sparse_parity.val_size,
    "images": images.val_size,
    "data": own_data.val_size,
    "teacher_student": teacher_student.val_size,
    "code": own_task.val_size,
    **dict.fromkeys(SEQUENCES, sequences.val_size),
}


def subset_names(config: RunConfig) -> tuple[str, ...]:
    """Parts of the run's table that have a name: the members of a mixture, what the spec names and the rest of it, and
    what noise makes. Each has an accuracy of its own if the spec asks for it. Their masks are TaskData.subsets."""
    if config.task_kind == "code":
        return (*own_task.asked_for(config), *noise_names(config))
    members = tuple(member.name for member in parse_members(config.members))
    return (*members, *subsets.named(config.subsets), *noise_names(config))


def build(config: RunConfig) -> TaskData:
    """The table of a run, split, with the noise on its training labels. Raises DataError."""
    return finish(FAMILIES[config.task_kind](config), config)


__all__ = [
    "TABLE_FIELDS",
    "DataError",
    "Table",
    "TaskData",
    "build",
    "subset_names",
    "table_size",
    "val_size",
]
