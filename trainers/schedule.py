"""At which steps a run is evaluated: dense in log time, then at a bounded linear gap.

Grokking is read on a logarithmic axis, but a transition late in a long run must not fall between two rows. Steps grow
by `growth` until the gap reaches steps / gaps; with 1.05 and 250 a run of 30,000 steps has about 350 rows. A function
of the budget and of nothing else, so the rows of a run never depend on what it shares a pack with.
"""

import functools

import numpy as np
import numpy.typing as npt


@functools.lru_cache(maxsize=64)
def evaluation_steps(steps: int, growth: float, gaps: int) -> npt.NDArray[np.int64]:
    """Ascending, from 0 (before training) to `steps` (the end), both included."""
    widest = max(1, steps // gaps)
    found = [0]
    while found[-1] < steps:
        here = found[-1]
        found.append(min(steps, max(here + 1, min(int(here * growth), here + widest))))
    schedule = np.asarray(found, dtype=np.int64)
    schedule.setflags(write=False)  # shared by all runs of this budget
    return schedule
