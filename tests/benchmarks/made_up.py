"""A sweep of made-up traces, committed by the store as training would: for measuring what comes after training.

The rows have the shape of real ones: steps dense in log time, accuracies that are counts over counts, and losses and
norms whose last digits are noise, which no encoding can shrink.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from orchestrator.columns import CONFIG_COLUMNS
from results.headers import RunOutcome
from results.schema import config_table, trace_table
from results.store import SweepStore
from trainers.schedule import evaluation_steps

STEPS = 50_000
TRAIN_SIZE, VAL_SIZE = 3000, 9769
RUNS_PER_SEGMENT = 50
FIXED = {
    "task": "a + b", "task_kind": "modular", "modulus": 113, "model": "transformer", "depth": 1, "heads": 4,
    "init_scale": 1.0, "optimizer": "adamw", "embedding_learning_rate": 1e-3, "embedding_weight_decay": 1.0,
    "beta1": 0.9, "beta2": 0.98, "batch_size": None, "dropout": 0.0, "label_noise": 0.0, "train_size": TRAIN_SIZE,
    "train_fraction": TRAIN_SIZE / (TRAIN_SIZE + VAL_SIZE), "val_size": VAL_SIZE, "steps": STEPS,
    "chance_accuracy": 1 / 113, "n_parameters": 60_000,
}  # fmt: skip
WIDTHS, RATES, DECAYS = (8, 16, 32, 64), (3e-4, 1e-3, 3e-3), (0.3, 1.0, 3.0)


def eval_steps() -> np.ndarray:
    """Steps of the 500 or so rows of a run."""
    return evaluation_steps(STEPS, 1.05, 388)


def metrics(seed: int) -> dict[str, np.ndarray]:
    """The rows of one run: it memorizes early and, seed by seed, generalizes late or never."""
    rng = np.random.default_rng(seed)
    step = eval_steps()
    log = np.log10(1 + step)
    t_train, t_val = rng.uniform(1.5, 3), rng.uniform(3, 6)
    noise = np.cumsum(rng.normal(0, 0.02, (3, len(step))), axis=1) + rng.normal(0, 0.05, (3, len(step)))
    train, val = (1 / (1 + np.exp(-8 * (log - t + noise[i]))) for i, t in enumerate((t_train, t_val)))
    return {
        "step": step,
        "train_loss": (np.exp(noise[0]) * (4.7 * (1 - train) + 1e-6)).astype(np.float32),
        "val_loss": (np.exp(noise[1]) * (4.7 + 8 * train - 12 * val * train).clip(1e-3)).astype(np.float32),
        "train_accuracy": np.round(train * TRAIN_SIZE) / TRAIN_SIZE,
        "val_accuracy": np.round((0.01 + 0.99 * val) * VAL_SIZE) / VAL_SIZE,
        "param_norm": ((30 + 20 * train - 15 * val) * np.exp(0.1 * noise[2])).astype(np.float32),
    }


def hyperparameters(n_runs: int) -> dict[str, list[Any]]:
    """What the runs differ in."""
    points = list(itertools.product(WIDTHS, RATES, DECAYS))
    rows = [(f"{i:016x}", *points[i % len(points)], i // len(points)) for i in range(n_runs)]
    return dict(
        zip(
            ("run_id", "width", "learning_rate", "weight_decay", "seed"),
            map(list, zip(*rows, strict=True)),
            strict=True,
        )
    )


class MadeUpSweep:
    """A folder for a sweep of so many runs. The rows of its packs are made first, then committed."""

    def __init__(self, root: Path, n_runs: int, runs_per_pack: int) -> None:
        self.root, self.n_runs = root, n_runs
        varying = hyperparameters(n_runs)
        self.packs = [
            {
                "pack_id": f"{first:016x}",
                "settings": {},
                "estimated_s": 1.0,
                "n_segments": 1,
                "fixed": FIXED,
                "runs": {name: values[first : first + runs_per_pack] for name, values in varying.items()},
            }
            for first in range(0, n_runs, runs_per_pack)
        ]
        plan = {
            "schema_version": 1, "name": "made_up", "spec": {}, "columns": list(CONFIG_COLUMNS), "classifier": {},
            "diagram": {}, "axes": {}, "packs": self.packs,
        }  # fmt: skip
        self.store = SweepStore.create(root, spec_text="name: made_up\n", plan=plan)

    @property
    def n_rows(self) -> int:
        return self.n_runs * len(eval_steps())

    def runs(self) -> pa.Table:
        """One row a run."""
        return pa.concat_tables([self._runs_of(pack) for pack in self.packs])

    def segments(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """The id of a pack and the arguments of one of its commits, pack by pack."""
        for number, pack in enumerate(self.packs):
            runs, ids = self._runs_of(pack), pack["runs"]["run_id"]
            blocks = [range(i, min(i + RUNS_PER_SEGMENT, len(ids))) for i in range(0, len(ids), RUNS_PER_SEGMENT)]
            for segment, block in enumerate(blocks):
                parts = [metrics(number * len(ids) + run) for run in block]
                columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
                columns["run"] = np.repeat(np.array(block), len(eval_steps()))
                yield (
                    pack["pack_id"],
                    {
                        "segment": segment,
                        "rows": trace_table(columns, runs),
                        "ended": [_ended(ids[run]) for run in block],
                        "checkpoint": None if segment == len(blocks) - 1 else b"state",
                        "run_steps": STEPS * (block[-1] + 1),
                        "lane_steps": STEPS * (block[-1] + 1),
                        "plan_id": self.store.read_plan()["plan_id"],
                        "fingerprint": {},
                    },
                )

    def commit_all(self) -> float:
        """Commit every segment; seconds in the store, without the making of the rows."""
        import time

        attempt, spent, packs = self.store.begin_attempt(), 0.0, {}
        for pack_id, segment in self.segments():
            start = time.perf_counter()
            if pack_id not in packs:
                packs[pack_id] = self.store.pack(pack_id)
                packs[pack_id].resume(attempt=attempt)
            packs[pack_id].commit(**segment, attempt=attempt)
            spent += time.perf_counter() - start
        return spent

    def bytes_published(self) -> int:
        return sum(path.stat().st_size for path in (self.root / "traces").iterdir())

    def _runs_of(self, pack: dict[str, Any]) -> pa.Table:
        return config_table(CONFIG_COLUMNS, fixed=pack["fixed"], varying=pack["runs"])


def _ended(run_id: str) -> RunOutcome:
    return RunOutcome(run_id=run_id, outcome="ended", stopped_at=None, wall_s=1.0, n_parameters=60_000)
