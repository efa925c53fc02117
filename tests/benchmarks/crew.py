"""Steppers in processes of their own, measured together: how a machine trains, one process a core.

A crew is built once (its start, compiling included, is timed apart) and then asked, again and again, to step for some
seconds. Between measurements its members wait on a pipe and use no core.
"""

import multiprocessing
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

Make = Callable[..., tuple[Callable[[], object], int]]
"""Builds a step and says how many run-steps it makes."""


@dataclass
class Crew:
    """Processes that train side by side."""

    connections: list[Connection]
    start_s: float
    """From the first process to the last one's first steps."""

    def rate(self, seconds: float) -> float:
        """Run-steps per second of all members together, over about so many seconds."""
        for connection in self.connections:
            connection.send(seconds)
        return sum(connection.recv() for connection in self.connections)

    def peak_bytes(self) -> int:
        """The most resident memory that a member has had."""
        for connection in self.connections:
            connection.send("peak")
        return max(connection.recv() for connection in self.connections)

    def dismiss(self) -> None:
        for connection in self.connections:
            connection.send(None)
            connection.close()


def gather(make: Make, *, members: int, threads: int, device: str = "cpu", **arguments: Any) -> Crew:
    """Start members that build `make(device=..., **arguments)` and take their first steps, one after the other: what
    the first one compiles, the others find in the cache."""
    context = multiprocessing.get_context("spawn")
    start = time.perf_counter()
    connections = []
    for _ in range(members):
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, make, threads, device, arguments), daemon=True)
        process.start()
        theirs.close()  # or a member that fails would leave us waiting
        ours.recv()
        connections.append(ours)
    return Crew(connections, time.perf_counter() - start)


def _serve(connection: Connection, make: Make, threads: int, device: str, arguments: dict[str, Any]) -> None:
    import torch

    torch.set_num_threads(threads)
    step, run_steps = make(device=device, **arguments)
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    for _ in range(3):
        step()
    wait()
    connection.send("ready")
    while (budget_s := connection.recv()) is not None:
        if budget_s == "peak":
            connection.send(_peak_bytes())
            continue
        count, start = 0, time.perf_counter()
        while time.perf_counter() - start < budget_s:
            step()
            count += 1
        wait()
        connection.send(count * run_steps / (time.perf_counter() - start))


def _peak_bytes() -> int:
    """Linux only. (getrusage would count what the parent held when it forked.)"""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
