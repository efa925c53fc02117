"""A tiny sweep for tests of the store: real files, made-up rows that depend on the checkpoint they go on from."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from results.headers import RunOutcome
from results.pack_store import PackStore
from results.schema import config_table, trace_table
from results.store import SweepStore

COLUMNS = ["task", "modulus", "width", "learning_rate", "batch_size", "train_size", "steps", "seed"]
FIXED = {"task": "a + b", "modulus": 113, "batch_size": None, "train_size": 2600, "steps": 10}
RATES = np.geomspace(1e-4, 1e-2, 3).tolist()
# run of the pack, first step, last step, whether it ends there; one list a segment
SCHEDULES = {
    "aaaa": [[(0, 0, 4, False), (1, 0, 4, False)], [(0, 5, 9, True), (1, 5, 9, True)], [(2, 0, 9, True)]],
    "bbbb": [[(1, 0, 4, True), (0, 0, 4, False)], [(0, 5, 9, True)]],
}
RUN_IDS = {"aaaa": ["a2", "a0", "a1"], "bbbb": ["b1", "b0"]}


def make_plan(name: str = "tiny") -> dict[str, Any]:
    packs = [
        {
            "pack_id": pack_id,
            "settings": {},
            "estimated_s": 1.0,
            "n_segments": len(SCHEDULES[pack_id]),
            "fixed": {**FIXED, "width": 32 if pack_id == "aaaa" else 64},
            "runs": {"run_id": run_ids, "learning_rate": RATES[: len(run_ids)], "seed": list(range(len(run_ids)))},
        }
        for pack_id, run_ids in RUN_IDS.items()
    ]
    spec = {"name": name, "steps": 10}
    return {"schema_version": 1, "name": name, "spec": spec, "columns": COLUMNS, "packs": packs}


def create_sweep(root: Path, name: str = "tiny") -> SweepStore:
    return SweepStore.create(root, spec_text=f"name: {name}\n", plan=make_plan(name))


def fake_segments(pack_id: str, start: int, carry: float) -> Iterator[dict[str, Any]]:
    """What train_pack would give from segment `start` on, as arguments of commit."""
    schedule = SCHEDULES[pack_id]
    for segment in range(start, len(schedule)):
        carry = carry * 0.5 + segment + 1
        spans = schedule[segment]
        run = np.concatenate([np.full(last - first + 1, index) for index, first, last, _ in spans])
        step = np.concatenate([np.arange(first, last + 1) for _, first, last, _ in spans])
        ended = [RUN_IDS[pack_id][index] for index, _, _, ends in spans if ends]
        outcomes = [RunOutcome(run_id=id, outcome="ended", stopped_at=None, wall_s=0.5, n_parameters=7) for id in ended]
        last = segment == len(schedule) - 1
        yield {
            "segment": segment,
            "rows": trace_table(fake_metrics(run, step, carry), pack_runs(pack_id)),
            "ended": outcomes,
            "checkpoint": None if last else json.dumps(carry).encode(),
            "weights": {id: {"w": np.full(3, carry, np.float32)} for id in ended},
            "run_steps": 10 * (segment + 1),
        }


def fake_metrics(run: np.ndarray, step: np.ndarray, carry: float) -> dict[str, np.ndarray]:
    loss = 1 / (1 + run + step) + carry
    return {
        "run": run,
        "step": step,
        "train_loss": loss,
        "val_loss": np.where(step == 3, np.nan, loss * 2),
        "train_accuracy": step / 10,
        "val_accuracy": step / 20,
        "param_norm": loss + 5,
    }


def pack_runs(pack_id: str) -> Any:
    entry = next(pack for pack in make_plan()["packs"] if pack["pack_id"] == pack_id)
    return config_table(COLUMNS, fixed=entry["fixed"], varying=entry["runs"])


def train(pack: PackStore, attempt: int, *, segments: int = 99, plan_id: str = "plan") -> None:
    """Resume a pack and commit up to `segments` of its segments."""
    point = pack.resume(attempt=attempt)
    if point.done:
        return
    carry = json.loads(point.checkpoint) if point.checkpoint else 0.0
    for _, block in zip(range(segments), fake_segments(pack.pack_id, point.segment, carry), strict=False):
        pack.commit(**block, attempt=attempt, plan_id=plan_id, fingerprint={"device": "fake"})


def launch(root: Path) -> None:
    """What a whole launch does to a folder."""
    store = SweepStore(root)
    with store.lock():
        create_sweep(root)
        store = SweepStore(root)
        packs = [store.pack(pack_id) for pack_id in store.pack_ids()]
        attempt = store.begin_attempt() if not all(pack.is_done() for pack in packs) else 0
        for pack in packs:
            train(pack, attempt, plan_id=store.read_plan()["plan_id"])


def published(root: Path) -> dict[str, bytes]:
    """Everything that readers of a sweep see, by name."""
    return {f"{path.parent.name}/{path.name}": path.read_bytes() for path in root.glob("[tw][re][ai]*/*")}
