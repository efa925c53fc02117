"""Named parts of a table, for accuracies of their own: of a division 0 / b, b = 1, a = b and the rest (Davies et al.
2022, figure 6).

In a RunConfig they are one text, "zero: a == 0; one: b == 1". Filters read the operands as plain numbers (permutations
by their place in the order of itertools.permutations, 0 the identity). They may overlap; `rest` is what none of them
holds for.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from trainers.expressions import OPERANDS, ExpressionError, parse
from trainers.members import RESERVED

REST = "rest"
MOST = 32
"""Subsets of one table."""
_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")

Mask = npt.NDArray[np.bool_]


def parse_subsets(text: str) -> dict[str, str]:
    """Filters by name. Raises ValueError."""
    parts = [part.split(": ", 1) for part in text.split("; ") if part]
    wrong = next((part[0] for part in parts if len(part) < 2), None)
    if wrong is not None:
        raise ValueError(f"should be NAME: FILTER; ..., is {wrong!r}")
    return {name: written for name, written in parts}


def write_subsets(filters: Mapping[str, str]) -> str:
    """Canonical text. Raises ValueError, with the name that is wrong."""
    if len(filters) > MOST:
        raise ValueError(f"a table may have {MOST} subsets, these are {len(filters)}")
    parts = []
    for name, written in filters.items():
        if not _NAME.fullmatch(name) or name in RESERVED:
            known = f"{name!r} has a meaning already" if name in RESERVED else f"{name!r} cannot be a column's name"
            raise ValueError(f"{known}; choose a name of small letters, digits and _")
        try:
            parts.append(f"{name}: {parse(written, OPERANDS).text}")
        except ExpressionError as error:
            raise ValueError(f"{name}: {error.message}") from None
    return "; ".join(parts)


def named(text: str) -> tuple[str, ...]:
    """In the order of the text, then the rest."""
    return (*parse_subsets(text), REST) if text else ()


def masks(text: str, operands_N2: npt.NDArray[Any]) -> dict[str, Mask]:
    """(N,) each, of the operands of every example."""
    if not text:
        return {}
    env = {"a": operands_N2[:, 0], "b": operands_N2[:, 1]}
    shape = operands_N2.shape[:1]
    found = {n: np.broadcast_to(parse(f, OPERANDS).holds(env), shape) for n, f in parse_subsets(text).items()}
    return {**found, REST: ~np.logical_or.reduce(list(found.values()))}
