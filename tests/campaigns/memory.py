"""Does memory stay flat over a sweep of tens of thousands of tiny runs? `tests/campaigns/memory.py --runs 20000`.

The worker trains; the driver reads the sweep twice a second, as a launch does to show progress, and writes the tables
at the end. Each is a process of its own, and its resident memory is noted as the runs end.

`--away` instead: a worker in a bucket whose server answers 503 from one commit on, until the worker gives up. What it
holds meanwhile must be what it held before.
"""

import argparse
import contextlib
import multiprocessing
import multiprocessing.synchronize
import os
import sys
import tempfile
import threading
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from launch_helpers import SLOTS, freeze

from orchestrator.plan import Plan
from results.store import SweepStore

SPEC = """\
name: many
task: {{kind: toy_addition, modulus: 6}}
model: {{kind: toy, width: 4, depth: 1}}
loss: mse
steps: {steps}
train_size: 15
evaluation: {{growth: 2, gaps: 4}}
grid: {{learning_rate: [1e-3, 1e-2]}}
seeds: {seeds}
resources: {{device: cpu, lanes: 64, engine: eager}}
"""


def work(folder: Path) -> None:
    from orchestrator.local import train_here

    store = SweepStore(folder)
    train_here(folder, store.pack_ids(), store.begin_attempt(), should_stop=lambda: False)


def drive(folder: Path, over: multiprocessing.synchronize.Event) -> None:
    from orchestrator.progress import Reader
    from orchestrator.tables import write_tables

    store = SweepStore(folder)
    plan = Plan.from_json(store.read_plan())
    reader = Reader(store, plan)
    while not over.wait(0.5):
        reader.read()
    print(f"driver before the tables: {resident_mb(multiprocessing.current_process().pid or 0):.0f} MB")
    write_tables(store, plan)
    print(f"driver after the tables: {resident_mb(multiprocessing.current_process().pid or 0):.0f} MB")


def work_in_bucket(environment: dict[str, str], root: str) -> None:
    from orchestrator.local import train_here
    from results.places import place_of

    os.environ.update(environment)
    store = SweepStore(place_of(root))
    train_here(store.root, store.pack_ids(), store.begin_attempt(), should_stop=lambda: False)


def go_away(segment: int, allowed: float) -> bool:
    """Whether memory stays what it was while the store is away; prints what it was."""
    from backends import CREDENTIALS, s3_server
    from test_bucket_sweeps import ROOT

    from orchestrator.costs import FormulaCost
    from orchestrator.plan import make_plan
    from orchestrator.spec import load_text

    text = SPEC.format(steps=8, seeds=2000)
    plan = make_plan(load_text(text), SLOTS, FormulaCost(device="cpu"), segment_s=0.02).to_json()
    with s3_server() as server:
        SweepStore.create(ROOT, spec_text=text, plan=plan)
        fault = server.fail_with(503, "SlowDown", times=10**9)
        fault.hits = lambda method, key: fault.met > 0 or f"segment-{segment:05d}" in key
        worker = multiprocessing.get_context("spawn").Process(
            target=work_in_bucket, args=({**CREDENTIALS, "AWS_ENDPOINT_URL": server.url}, str(ROOT))
        )
        worker.start()
        while worker.is_alive() and not fault.met:
            worker.join(0.02)
        began, before = time.monotonic(), resident_mb(worker.pid or 0)
        most = before
        while worker.is_alive():
            with contextlib.suppress(StopIteration, FileNotFoundError):  # it ended just now
                most = max(most, resident_mb(worker.pid or 0))
            worker.join(0.2)
    away_s = time.monotonic() - began
    print(f"away for {away_s:.0f} s, {fault.met} requests: {before:.0f} MB before, {most:.0f} MB at most")
    return fault.met > 4 and most <= allowed * before


def resident_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def ended(store: SweepStore) -> int:
    headers = (store.pack(pack_id).newest_header() for pack_id in store.pack_ids())
    return sum(len(header.outcomes) for header in headers if header)


def sample(store: SweepStore, n_runs: int, worker: BaseProcess, driver: BaseProcess) -> list[tuple[float, float]]:
    """Memory of both whenever another tenth of the runs has ended."""
    found: list[tuple[float, float]] = []
    while worker.is_alive():
        threading.Event().wait(0.5)
        done = ended(store)
        if done * 10 // n_runs > len(found) and worker.is_alive():
            found.append((resident_mb(worker.pid or 0), resident_mb(driver.pid or 0)))
            print(f"{done:>7,} runs: worker {found[-1][0]:.0f} MB, driver {found[-1][1]:.0f} MB", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20_000)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--allowed", type=float, default=1.1, help="memory at the end over that at a fifth of the runs")
    parser.add_argument("--away", type=int, metavar="SEGMENT", help="the bucket is away from this segment on")
    options = parser.parse_args()
    if options.away is not None:
        sys.exit(0 if go_away(options.away, options.allowed) else 1)
    context = multiprocessing.get_context("spawn")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="grokctl-memory-") as scratch:
        folder = Path(scratch) / "sweep"
        freeze(folder, SPEC.format(steps=options.steps, seeds=options.runs // 2), segment_s=0.02)
        over = context.Event()
        worker, driver = (
            context.Process(target=work, args=(folder,)),
            context.Process(target=drive, args=(folder, over)),
        )
        driver.start()
        worker.start()
        found = sample(SweepStore(folder), options.runs, worker, driver)
        over.set()
        driver.join()
        packs = len(SweepStore(folder).pack_ids())
    early, late = found[min(1, len(found) - 1)], found[-1]
    growth = [b / a for a, b in zip(early, late, strict=True)]
    print(f"{options.runs:,} runs in {packs} packs, {time.monotonic() - began:.0f} s; memory from a fifth to the end:")
    print(f"worker {growth[0]:.3f} times, driver {growth[1]:.3f} times")
    sys.exit(0 if worker.exitcode == driver.exitcode == 0 and max(growth) <= options.allowed else 1)


if __name__ == "__main__":
    main()
