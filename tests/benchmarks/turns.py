"""Processes that work when it is their turn: how several workers share a machine, side by side with something else."""

import multiprocessing
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

Work = Callable[[], int]
"""One step; says how many run-steps it was."""


def rate(work: Work, seconds: float) -> float:
    """Run-steps a second, over at least so many seconds."""
    count, start = 0, time.perf_counter()
    while True:
        count += work()
        spent = time.perf_counter() - start
        if spent >= seconds:
            return count / spent


@contextmanager
def workers(processes: int, make: Callable[..., Work], *arguments: Any) -> Iterator[Callable[[float], float]]:
    """So many processes, each with its own `make(*arguments)`; yields a function that lets all of them work for so many
    seconds, and gives the sum of their rates."""
    context = multiprocessing.get_context("spawn")
    pipes, started = [], []
    for _ in range(processes):
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, make, arguments), daemon=True)
        process.start()
        pipes.append(ours)
        started.append(process)

    def take_turn(seconds: float) -> float:
        for pipe in pipes:
            pipe.send(seconds)
        return sum(pipe.recv() for pipe in pipes)

    try:
        take_turn(0)  # whatever the first step starts or compiles
        yield take_turn
    finally:
        for process in started:
            process.terminate()
            process.join()


def _serve(pipe: Connection, make: Callable[..., Work], arguments: tuple[Any, ...]) -> None:
    work = make(*arguments)
    while True:
        pipe.send(rate(work, pipe.recv()))
