"""A small sweep of two packs with several segments each, launched in processes that tests may kill."""

import multiprocessing
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
from rich.console import Console

from orchestrator.costs import FormulaCost
from orchestrator.launcher import launch
from orchestrator.plan import make_plan
from orchestrator.slots import Slots
from orchestrator.spec import load_text
from results.store import SweepStore

SPEC = """\
name: small
task: {kind: toy_addition, modulus: 6}
model: {kind: toy, width: 5, depth: 1}
loss: mse
steps: 60
train_size: 15
evaluation: {growth: 2, gaps: 15}
grid:
  learning_rate: [1e-3, 1e-2, 1e-1]
  width: [4, 6]
seeds: 2
resources: {device: cpu, lanes: 2}
"""
SLOTS = Slots(device="cpu", slots=2, cpus_per_pack=1, gpus_per_pack=0.0, has_compiler=False)
DEADLINE_S = 300.0


def freeze(folder: Path, spec: str = SPEC, *, segment_s: float = 0.1, slots: Slots = SLOTS) -> Path:
    """The folder of a sweep that was planned with short segments, and not begun. Returns its spec."""
    path = folder.with_suffix(".yaml")
    path.write_text(spec)
    plan = make_plan(load_text(spec), slots, FormulaCost(device="cpu"), segment_s=segment_s).to_json()
    SweepStore.create(folder, spec_text=spec, plan=plan)
    return path


def silent() -> Console:
    return Console(quiet=True)


def listening() -> tuple[Console, list[str]]:
    """A silent console, and what was printed on it."""
    console, said = silent(), list[str]()
    console.print = lambda *args, **options: said.append(str(args[0]))  # type: ignore[method-assign]
    return console, said


def launch_here(spec: Path, folder: Path, **options: Any) -> Any:
    return launch(spec, out=folder, **{"local": True, "console": silent(), **options})


def _launch_in_child(spec: Path, folder: Path, options: dict[str, Any]) -> None:
    raise SystemExit(launch_here(spec, folder, **options).exit_code)


_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["orchestrator.local", "orchestrator.tables", "results.diagram", "torch._inductor"])


@contextmanager
def launching(spec: Path, folder: Path, **options: Any) -> Iterator[BaseProcess]:
    """A launch in a process of its own, forked from one that has torch loaded. Killed at the end of the block."""
    process = _SERVER.Process(target=_launch_in_child, args=(spec, folder, options))
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join(DEADLINE_S)


def wait_until(
    condition: Callable[[], bool],
    process: "BaseProcess | subprocess.Popen[str] | None" = None,
    *,
    every_s: float = 0.002,
) -> None:
    """Look again and again; fails after the deadline, or if the process ended before."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "the deadline is over"
        assert process is None or _lives(process) or condition(), "the launch ended before"
        threading.Event().wait(every_s)


def _lives(process: "BaseProcess | subprocess.Popen[str]") -> bool:
    return process.poll() is None if isinstance(process, subprocess.Popen) else process.is_alive()


def end_of(process: BaseProcess) -> int | None:
    """The exit code; negative: killed by that signal."""
    process.join(DEADLINE_S)
    return process.exitcode


def commits(folder: Path) -> int:
    """Segments that were committed, over all packs."""
    store = SweepStore(folder)
    newest = (store.pack(pack_id).newest_header() for pack_id in store.pack_ids())
    return sum(header.segment + 1 for header in newest if header)


def traces(folder: Path) -> pd.DataFrame:
    """All rows as any reader finds them."""
    rows = pd.concat([pq.read_table(path).to_pandas() for path in sorted((folder / "traces").glob("*.parquet"))])
    return rows.sort_values(["run_id", "step"]).reset_index(drop=True)


def assert_same_traces(one: Path, other: Path) -> None:
    """Bit for bit, and every row once."""
    rows = traces(one)
    assert not rows.duplicated(["run_id", "step"]).any()
    pd.testing.assert_frame_equal(rows, traces(other), check_exact=True)


def files_of(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Every file with inode, time and size: what doing nothing leaves alone."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    stats = {path.relative_to(folder).as_posix(): path.stat() for path in paths}
    return {name: (stat.st_ino, stat.st_mtime_ns, stat.st_size) for name, stat in stats.items()}


def no_debris(folder: Path) -> bool:
    """No files in the making, no checkpoints of finished packs, no request to stop."""
    return (
        not [p for p in folder.rglob("*") if p.name.endswith(".tmp") or p.name.startswith("checkpoint")]
        and not (folder / "stop").exists()
    )
