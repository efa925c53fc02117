"""When one run is looked at: rows of its trace, measures and snapshots.

Depends on the config alone, so a pack that goes on from a checkpoint looks where it would have looked without the
break. A lane holds the timetable of its run: a pack may have as many budgets as lanes, and asks all of them at each
stop.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trainers.config import RunConfig
from trainers.schedule import evaluation_steps, planned_steps

Steps = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Timetable:
    """Ascending steps."""

    rows: Steps
    """From 0 to the end of the budget."""
    measures: Steps
    snapshots: Steps
    stops: Steps
    """All of these, and those at which another training set takes over."""

    def next_stop(self, done: int) -> int:
        """After `done` updates, fewer than the budget."""
        return int(self.stops[np.searchsorted(self.stops, done, side="right")])

    def has_row(self, step: int) -> bool:
        return _is_in(self.rows, step)

    def is_measured(self, step: int) -> bool:
        return _is_in(self.measures, step)

    def is_kept(self, step: int) -> bool:
        """Whether the run is due for a snapshot."""
        return _is_in(self.snapshots, step)


def timetable(config: RunConfig) -> Timetable:
    rows = evaluation_steps(config.steps, config.eval_growth, config.eval_gaps)
    never = np.zeros(0, dtype=np.int64)
    measures = planned_steps(config.measure_at, config.steps) if config.measures else never
    snapshots = planned_steps(config.snapshot_at, config.steps) if config.snapshots else never
    switches = np.array([phase.start for phase in config.train_sizes[1:]], dtype=np.int64)
    stops = np.unique(np.concatenate([rows, measures, snapshots, switches]))
    return Timetable(rows=rows, measures=measures, snapshots=snapshots, stops=stops)


def _is_in(steps: Steps, step: int) -> bool:
    at = int(np.searchsorted(steps, step))
    return at < len(steps) and int(steps[at]) == step
