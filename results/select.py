"""`width=32, learning_rate=[1e-3, 1e-2]` as a filter over a table's columns.

Numbers with a fraction match to nine digits: the 0.001 of a log grid is 0.0010000000000000002, and nobody types that.
"""

import math
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

TOLERANCE = 1e-9
"""Relative. Far below the distance of any two points of a grid, far above what arithmetic on it loses."""


def check_names(names: Iterable[str], schema: pa.Schema) -> None:
    """Raises ValueError on a name that isn't a column, with the columns that may be meant."""
    for name in names:
        if name not in schema.names:
            close = get_close_matches(name, schema.names, n=3)
            meant = f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(schema.names)}"
            raise ValueError(f"no column {name!r}; {meant}")


def condition(where: Mapping[str, Any], schema: pa.Schema) -> pc.Expression | None:
    """All of `where` hold: a value, any of a list of values, or None for null. None when nothing is asked.

    Raises ValueError on unknown names and on values that a column of its type can't hold.
    """
    check_names(where, schema)
    found = None
    for name, value in where.items():
        one = _any_of(name, schema.field(name).type, value)
        found = one if found is None else found & one
    return found


def listed(value: Any) -> list[Any]:
    """All values that a filter takes for a column."""
    return list(value) if isinstance(value, list | tuple | set | frozenset | range | np.ndarray) else [value]


def _any_of(name: str, kind: pa.DataType, value: Any) -> pc.Expression:
    values = listed(value)
    plain = [_plain(name, kind, item) for item in values if item is not None]
    found = _near(name, plain) if pa.types.is_floating(kind) else pc.field(name).isin(pa.array(plain, kind))
    return found | pc.field(name).is_null() if None in values else found


def _near(name: str, values: list[float]) -> pc.Expression:
    found = pc.scalar(False)
    for value in values:
        low, high = sorted((value * (1 - TOLERANCE), value * (1 + TOLERANCE)))
        near = (pc.field(name) >= low) & (pc.field(name) <= high)
        found = found | (pc.field(name).is_nan() if math.isnan(value) else near)
    return found


def _plain(name: str, kind: pa.DataType, value: Any) -> Any:
    """The value as the column's type has it."""
    value = value.item() if isinstance(value, np.generic) else value
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if pa.types.is_floating(kind) and is_number:
        return float(value)
    if pa.types.is_integer(kind) and is_number and float(value).is_integer():
        return int(value)
    if pa.types.is_boolean(kind) and isinstance(value, bool):
        return value
    if pa.types.is_string(kind) and isinstance(value, str):
        return value
    raise ValueError(f"{name}={value!r} matches nothing: the column holds values of type {kind}")
