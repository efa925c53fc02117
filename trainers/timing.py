"""How long steps of reference packs take on this machine: what the constants of trainers.cost are fitted to.

`python -m trainers.timing` in a process of its own: reads a request as JSON from standard input and writes the seconds.
The packs are trained by the real loop, from the smallest dispatch-bound one to one that is nearly all arithmetic.
"""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch

from trainers.config import RunConfig
from trainers.loop import train_pack
from trainers.references import reference_packs
from trainers.trace import Engine, PackSettings

FIRST_STEPS = 4
"""Steps of a segment of the first try, which says how long the segments that count must be."""
SKIPPED = 3
"""Segments at the start: evaluations, the tracing of the step, cold caches."""
SEGMENT_S = 0.05
TIMED = 8
"""Segments, of which the fastest counts: whatever else the machine does makes them only slower."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is to be timed."""

    engine: Engine
    device: Literal["cpu", "cuda"]
    threads: int
    names: list[str]


def seconds_per_step(config: RunConfig, lanes: int, request: Request) -> float:
    """Of a pack in its stride, evaluation left out."""
    first = _segment_seconds(config, lanes, request, FIRST_STEPS, timed=2) / FIRST_STEPS
    steps = max(FIRST_STEPS, round(SEGMENT_S / first))
    return _segment_seconds(config, lanes, request, steps, timed=TIMED) / steps


def _segment_seconds(config: RunConfig, lanes: int, request: Request, steps: int, timed: int) -> float:
    settings = PackSettings(
        lanes=lanes, engine=request.engine, threads=request.threads, segment_steps=steps, device=request.device
    )
    # Evaluations at 1, 10, 100, 1000, ... steps: the fastest segments have none.
    sparse = {"eval_growth": 10.0, "eval_gaps": 1}
    blocks = train_pack([config.model_copy(update={"seed": seed, **sparse}) for seed in range(lanes)], settings)
    clock = _clock(request)
    for _ in range(SKIPPED):
        next(blocks)
    seconds = []
    for _ in range(timed):
        began = clock()
        next(blocks)
        seconds.append(clock() - began)
    return min(seconds)


def _clock(request: Request) -> Callable[[], float]:
    """One thread's own time, where that is all there is, so that a busy machine is not taken for a slow one."""
    return time.process_time if request.device == "cpu" and request.threads == 1 else time.perf_counter


def main() -> None:
    request = Request(**json.loads(sys.stdin.read()))
    packs = reference_packs()
    torch.set_num_threads(request.threads)
    print(json.dumps({name: seconds_per_step(*packs[name], request) for name in request.names}))


if __name__ == "__main__":
    main()
