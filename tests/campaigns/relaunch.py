"""What does launching a finished sweep of 1,000 packs again cost? `tests/campaigns/relaunch.py --packs 1000`.

The sweep is planned as any other; its packs are committed by the store with made-up rows. Then the command is launched
again, in processes of its own: no file may change, and its CPU time counts, imports and all (`--allowed` seconds).
"""

import argparse
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from cli_processes import run
from launch_helpers import files_of, freeze

from orchestrator.columns import config_rows
from orchestrator.plan import Plan, PlannedPack
from orchestrator.tables import write_tables
from results import durable
from results.headers import RunOutcome
from results.schema import trace_table
from results.store import SweepStore
from trainers.schedule import evaluation_steps

SPEC = """\
name: finished
task: {{kind: toy_addition, modulus: 6}}
model: {{kind: toy, depth: 1}}
loss: mse
steps: 60
train_size: 15
grid: {{width: {{range: [1, {packs}, 1]}}, learning_rate: [1e-3, 1e-2]}}
seeds: {seeds}
resources: {{device: cpu, engine: eager}}
"""


class UnsyncedOs:
    """os, for results.durable: nobody cuts the power of a measurement."""

    def __getattr__(self, name: str) -> object:
        return getattr(os, name)

    def fsync(self, descriptor: int) -> None:
        pass


def finish(store: SweepStore, plan: Plan) -> None:
    """Every run ends, in one segment a pack."""
    attempt = store.begin_attempt()
    for pack in plan.packs:
        stored = store.pack(pack.pack_id)
        stored.resume(attempt=attempt)
        stored.commit(
            segment=0,
            rows=rows_of(plan, pack),
            ended=[
                RunOutcome(run_id=run_id, outcome="ended", stopped_at=None, wall_s=1.0, n_parameters=9)
                for run_id in pack.run_ids
            ],
            checkpoint=None,
            run_steps=sum(pack.values("steps")),
            lane_steps=sum(pack.values("steps")),
            attempt=attempt,
            plan_id=store.read_plan()["plan_id"],
            fingerprint={"device": "made up"},
            wall_s=1.0,
        )
    write_tables(store, plan)


def rows_of(plan: Plan, pack: PlannedPack):  # type: ignore[no-untyped-def]
    configs = pack.configs()
    steps = evaluation_steps(configs[0].steps, configs[0].eval_growth, configs[0].eval_gaps)
    learnt = np.tile(np.linspace(0, 1, len(steps)), pack.n_runs)
    columns = {"run": np.repeat(np.arange(pack.n_runs), len(steps)), "step": np.tile(steps, pack.n_runs)}
    columns |= {name: 1 - learnt for name in ("train_loss", "val_loss", "param_norm")}
    columns |= {name: learnt for name in ("train_accuracy", "val_accuracy")}
    return trace_table(columns, config_rows(pack.run_ids, configs, plan.columns))


def cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packs", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--allowed", type=float, default=2.0, help="seconds of CPU time")
    options = parser.parse_args()
    durable.os = UnsyncedOs()  # type: ignore[attr-defined]
    with tempfile.TemporaryDirectory(prefix="grokctl-relaunch-") as scratch:
        folder = Path(scratch) / "sweep"
        spec = freeze(folder, SPEC.format(packs=options.packs, seeds=options.seeds), segment_s=60.0)
        store = SweepStore(folder)
        plan = Plan.from_json(store.read_plan())
        finish(store, plan)
        before, spent = files_of(folder), []
        for _ in range(options.times):
            used, began = cpu_s(), time.perf_counter()
            done = run("launch", spec, "--out", folder)
            assert done.returncode == 0, done.stderr
            assert "nothing to do" in done.stdout, done.stdout
            spent.append(cpu_s() - used)
            print(f"launched again: {spent[-1]:.2f} s of CPU time, {time.perf_counter() - began:.2f} s", flush=True)
        changed = sum(before.get(name) != stat for name, stat in files_of(folder).items())
        what = f"{len(plan.packs):,} packs, {plan.n_runs:,} runs, {len(before):,} files"
        print(f"{what}: {changed} files written, CPU time {min(spent):.2f} to {max(spent):.2f} s, imports and all")
    sys.exit(1 if changed or min(spent) > options.allowed else 0)


if __name__ == "__main__":
    main()
