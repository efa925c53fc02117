"""The tasks that one network learns side by side (Huang et al. 2024, figure 8: an addition, and labels without a rule).

In a RunConfig they are one text, "addition: a + b on 3000; memory: random": a name, an operation on a and b, or random
labels, and the number of training examples, which without `on` is the run's train_size. So a member whose size is left
open is the one that an axis train_size varies.
"""

import functools
import re
from collections.abc import Sequence
from typing import NamedTuple

from trainers.expressions import OPERANDS, ExpressionError, parse

RANDOM = "random"
MOST = 8
RESERVED = ("rest", "noisy", "clean", "outliers")
"""Names of other parts of a table."""
_ENTRY = re.compile(r"([a-z][a-z0-9_]{0,31}): (.+?)(?: on ([1-9][0-9]{0,9}))?")


class Member(NamedTuple):
    name: str
    task: str
    """The operation in canonical form, or RANDOM."""
    train_size: int | None
    """None: the run's."""

    @property
    def has_rule(self) -> bool:
        return self.task != RANDOM


@functools.lru_cache(maxsize=1024)
def parse_members(text: str) -> tuple[Member, ...]:
    """Raises ValueError, with the name of the member that is wrong."""
    found = []
    for part in text.split("; ") if text else []:
        entry = _ENTRY.fullmatch(part)
        if entry is None:
            raise ValueError(f"should be NAME: OPERATION, or NAME: {RANDOM}, the name of small letters, is {part!r}")
        found.append(Member(entry[1], _canonical(entry[1], entry[2]), int(entry[3]) if entry[3] else None))
    names = [member.name for member in found]
    wrong = next((name for name in names if names.count(name) > 1 or name in RESERVED), None)
    if wrong is not None:
        raise ValueError(f"{wrong!r} has another meaning already; choose another name")
    if text and not 2 <= len(found) <= MOST:
        raise ValueError(f"a mixture has 2 to {MOST} members, this one {len(found)}")
    if text and all(member.train_size is not None for member in found):
        raise ValueError("one member at least leaves its train_size out: it has the train_size of the run")
    return tuple(found)


def _canonical(name: str, task: str) -> str:
    try:
        return task if task == RANDOM else parse(task, OPERANDS).text
    except ExpressionError as error:
        raise ValueError(f"{name}: {error.message}") from None


def write_members(members: Sequence[Member]) -> str:
    return "; ".join(f"{m.name}: {m.task}" + ("" if m.train_size is None else f" on {m.train_size}") for m in members)


def total_size(train_size: int, members: str) -> int:
    """Training examples of all members together."""
    if not members:
        return train_size
    return sum(member.train_size or train_size for member in parse_members(members))
