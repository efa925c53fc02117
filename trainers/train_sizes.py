"""How many examples a run trains on, over its steps: one number, or a schedule of them (Varma et al. 2023, section 5).

A run ends on `train_size` examples. `train_size_before` says what came before, as text, so that it is an axis, a column
and a part of a run's identity like any other hyperparameter: "12769 until 5000" trains the first 5,000 updates on
12,769 examples, "12769 until 5000, 1000 until 8000" has another 3,000 on 1,000. The sets nest: each is a prefix of the
same list. A spec may also write `all`, or a fraction of the table, for a size.
"""

import functools
import itertools
import re
from collections.abc import Collection, Sequence
from typing import NamedTuple

from trainers.members import total_size

_ENTRY = re.compile(r"(all|[0-9]{1,10}|0?\.[0-9]{1,12}) until ([1-9][0-9]{0,9})")
FORM = "SIZE until STEP, as in `all until 5000` or `3000 until 5000, 1000 until 8000`"
PATTERN = r"^([1-9][0-9]* until [1-9][0-9]*(, [1-9][0-9]* until [1-9][0-9]*)*)?$"
"""Of the text in a RunConfig, where every size is a count."""


class Phase(NamedTuple):
    start: int
    """Updates made when it begins."""
    size: int


class Before(NamedTuple):
    """An entry of `train_size_before` as it was written."""

    size: str
    until: int


def parse_before(text: str) -> tuple[Before, ...]:
    """The entries of the text, steps ascending. Raises ValueError."""
    found = []
    for part in text.split(",") if text.strip() else []:
        entry = _ENTRY.fullmatch(" ".join(part.split()))
        if entry is None:
            raise ValueError(f"should be {FORM}, is {part.strip()!r}")
        found.append(Before(entry[1], int(entry[2])))
        if entry[1] != "all" and not float(entry[1]):
            raise ValueError(f"a training set has one example at least; this is {part.strip()!r}")
        if len(found) > 1 and found[-2].until >= found[-1].until:
            raise ValueError(f"the steps ascend; {found[-1].until} is not above {found[-2].until}")
    return tuple(found)


def write_before(entries: Sequence[Before]) -> str:
    return ", ".join(f"{entry.size} until {entry.until}" for entry in entries)


@functools.lru_cache(maxsize=4096)
def phases(train_size: int, before: str, members: str = "") -> tuple[Phase, ...]:
    """The sets of a run in their order; the last is of `train_size`. With the members of a mixture, those of all of
    them together."""
    entries = parse_before(before)
    starts = [0, *(entry.until for entry in entries)]
    sizes = [*(int(entry.size) for entry in entries), train_size]
    return tuple(Phase(start, total_size(size, members)) for start, size in zip(starts, sizes, strict=True))


def phase_at(schedule: Sequence[Phase], done: int) -> Phase:
    """The set that the next update sees, after so many."""
    return next(phase for phase in reversed(schedule) if phase.start <= done)


def widths(schedules: Collection[Sequence[Phase]]) -> tuple[int, ...]:
    """Lengths that the batches of a pack may be padded to, ascending: of each phase, counted from the last, the longest
    set of all runs. One number where no run has a schedule. They are few because each is a program of its own."""
    found = set()
    for position in range(1, 1 + max(map(len, schedules))):
        found.add(max(schedule[-position].size for schedule in schedules if position <= len(schedule)))
    return tuple(sorted(found))


def epochs_before(schedule: Sequence[Phase], phase: Phase, batch_size: int) -> int:
    """Epochs begun before a phase: its own are counted on from there, so that no two have the same order."""
    ends = {before: after.start for before, after in itertools.pairwise(schedule)}
    earlier = [before for before in ends if before.start < phase.start]
    return sum(-(-(ends[before] - before.start) // (before.size // batch_size)) for before in earlier)
