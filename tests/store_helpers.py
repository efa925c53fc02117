"""A tiny sweep for tests of the store: real files, made-up rows that depend on the checkpoint they go on from."""

import itertools
import json
import os
import shutil
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from results import tables
from results.headers import RunOutcome
from results.objects import ObjectPath
from results.pack_store import PackStore
from results.places import Place, relative
from results.schema import config_table, further_table, trace_table
from results.store import SweepStore
from results.sweep import Sweep

COLUMNS = ["task", "modulus", "width", "learning_rate", "batch_size", "train_size", "steps", "seed"]
FIXED = {"task": "a + b", "modulus": 113, "batch_size": None, "train_size": 2600, "steps": 9}
RATES = [1e-4, 0.0010000000000000002, 1e-2]  # as some log grids have them
# run of the pack, first step, last step, whether it ends there; one list a segment
SCHEDULES = {
    "aaaa": [[(0, 0, 4, False), (1, 0, 4, False)], [(0, 5, 9, True), (1, 5, 9, True)], [(2, 0, 9, True)]],
    "bbbb": [[(1, 0, 4, True), (0, 0, 4, False)], [(0, 5, 9, True)]],
}
RUN_IDS = {"aaaa": ["a2", "a0", "a1"], "bbbb": ["b1", "b0"]}
PUBLISH_RUNS = {"aaaa": 1, "bbbb": 1}
AMENDED: dict[str, str] = {}
"""Packs that a launch replaces before they commit, and by what."""
GROWN: list[str] = []
"""Packs that a launch adds to the plan, because the spec has gained runs; see `gain_runs`."""
FURTHER: list[str] = []
"""Tables beside the traces; see `measure_too`."""


class UnsyncedOs:
    """os for results.durable, without the waiting: only a power cut could tell."""

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def fsync(self, descriptor: int) -> None:
        pass


def make_plan(name: str = "tiny") -> dict[str, Any]:
    packs = [pack for pack in pack_entries() if pack["pack_id"] not in GROWN]
    spec = {"name": name, "steps": 10}
    return {"schema_version": 1, "name": name, "spec": spec, "columns": COLUMNS, "packs": packs}


def pack_entries() -> list[dict[str, Any]]:
    """As a plan has them; those, too, that it gains later."""
    return [
        {
            "pack_id": pack_id,
            "settings": {},
            "estimated_s": 1.0,
            "n_segments": len(SCHEDULES[pack_id]),
            "fixed": {**FIXED, "width": 32 if pack_id == "aaaa" else 64},
            "runs": {"run_id": run_ids, "learning_rate": RATES[: len(run_ids)], "seed": list(range(len(run_ids)))},
        }
        for pack_id, run_ids in RUN_IDS.items()
        if pack_id not in AMENDED.values()
    ]


def let_runs_wait() -> None:
    """From now on a sweep has one pack, which publishes two runs at a time: the first waits for the second, the third
    for the end."""
    for table in (SCHEDULES, RUN_IDS, PUBLISH_RUNS):
        table.clear()
    SCHEDULES["cccc"] = [[(0, 0, 9, True), (1, 0, 4, False)], [(1, 5, 9, True)], [(2, 0, 4, True)]]
    RUN_IDS["cccc"] = ["c2", "c0", "c1"]
    PUBLISH_RUNS["cccc"] = 2


def measure_too() -> None:
    """From now on runs have measures, two at every third step, and snapshots at steps 0 and 7."""
    FURTHER[:] = ["measures", "snapshots"]


def run_out_of_memory() -> None:
    """From now on the first pack of the sweep is replaced by another one with the same runs."""
    AMENDED["aaaa"] = "dddd"
    for table in (SCHEDULES, RUN_IDS, PUBLISH_RUNS):
        table["dddd"] = table["aaaa"]


def gain_runs() -> None:
    """From now on the spec has runs that plans made before lack."""
    GROWN[:] = ["eeee"]
    SCHEDULES["eeee"], RUN_IDS["eeee"], PUBLISH_RUNS["eeee"] = SCHEDULES["bbbb"], ["e1", "e0"], 1


def create_sweep(root: Place, name: str = "tiny") -> SweepStore:
    return SweepStore.create(root, spec_text=f"name: {name}\n", plan=make_plan(name))


def fake_segments(pack_id: str, start: int, carry: float) -> Iterator[dict[str, Any]]:
    """What train_pack would give from segment `start` on, as arguments of commit."""
    schedule = SCHEDULES[pack_id]
    for segment in range(start, len(schedule)):
        carry = carry * 0.5 + segment + 1
        spans = schedule[segment]
        run = np.concatenate([np.full(last - first + 1, index) for index, first, last, _ in spans])
        step = np.concatenate([np.arange(first, last + 1) for _, first, last, _ in spans])
        outcomes = [ended_at(RUN_IDS[pack_id][index], end) for index, _, end, ends in spans if ends]
        ended = [run.run_id for run in outcomes]
        last = segment == len(schedule) - 1
        yield {
            "segment": segment,
            "rows": trace_table(fake_metrics(run, step, carry), pack_runs(pack_id)),
            "ended": outcomes,
            "checkpoint": None if last else json.dumps(carry).encode(),
            "weights": {id: {"w": np.full(3, carry, np.float32)} for id in ended},
            "further": {table: fake_further(table, pack_id, run, step, carry) for table in FURTHER},
            "run_steps": 10 * (segment + 1),
            "lane_steps": 12 * (segment + 1),
        }


def ended_at(run_id: str, step: int) -> RunOutcome:
    """Most spend their budget."""
    outcome, stopped_at = ("ended", None) if step == FIXED["steps"] else ("stopped", step)
    return RunOutcome(run_id=run_id, outcome=outcome, stopped_at=stopped_at, wall_s=0.5, n_parameters=7)


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


def fake_further(table: str, pack_id: str, run: np.ndarray, step: np.ndarray, carry: float) -> Any:
    if table == "measures":
        at = np.repeat(np.flatnonzero(step % 3 == 0), 2)
        index = np.arange(len(at)) % 2
        block = {"name": ["norms"] * len(at), "layer": ["w" if i else None for i in index], "index": index}
        block |= {"value": run[at] + step[at] + carry + index}
    else:
        at = np.flatnonzero((step == 0) | (step == 7))
        block = {"name": ["embed.weight"] * len(at), "shape": [[2, 3]] * len(at)}
        block |= {"values": [np.arange(6, dtype=np.float32) + run[i] + carry for i in at]}
    return further_table(table, {"run": run[at], "step": step[at], **block}, RUN_IDS[pack_id])


def pack_runs(pack_id: str) -> Any:
    planned = {by: replaced for replaced, by in AMENDED.items()}.get(pack_id, pack_id)
    entry = next(pack for pack in pack_entries() if pack["pack_id"] == planned)
    return config_table(COLUMNS, fixed=entry["fixed"], varying=entry["runs"])


def train(pack: PackStore, attempt: int, *, segments: int = 99, plan_id: str = "plan") -> int:
    """Resumes a pack and commits up to `segments` of its segments; returns how many."""
    point = pack.resume(attempt=attempt)
    if point.done:
        return 0
    carry = json.loads(point.checkpoint) if point.checkpoint else 0.0
    blocks = list(itertools.islice(fake_segments(pack.pack_id, point.segment, carry), segments))
    for block in blocks:
        publish_runs = PUBLISH_RUNS[pack.pack_id]
        pack.commit(
            **block, attempt=attempt, plan_id=plan_id, fingerprint={"device": "fake"}, publish_runs=publish_runs
        )
    return len(blocks)


def launch(root: Place) -> int:
    """What a whole launch does to a folder; returns how many segments it trained."""
    store = SweepStore(root)
    with store.lock():
        store = create_sweep(root)
        extend(store)
        packs = [store.pack(pack_id) for pack_id in store.pack_ids()]
        trained = 0
        if all(pack.is_done() for pack in packs):
            for pack in packs:
                pack.tidy()
        else:
            attempt = store.begin_attempt()
            for replaced in AMENDED:
                amend(store, replaced, attempt)
            packs = [store.pack(pack_id) for pack_id in store.pack_ids()]
            trained = sum(train(pack, attempt, plan_id=store.read_plan()["plan_id"]) for pack in packs)
        if not is_labelled(root):
            write_tables(store)
        return trained


def extend(store: SweepStore) -> None:
    """Adds the packs that the plan lacks."""
    missing = [pack for pack in pack_entries() if pack["pack_id"] in {*GROWN} - {*store.pack_ids()}]
    if missing:
        store.extend(packs=missing, changed={"axes": {}}, reason="more runs")


def is_labelled(root: Place) -> bool:
    runs, labels = root / "runs.parquet", root / "labels.parquet"
    return runs.exists() and labels.exists() and len(tables.read(labels)) == sum(map(len, make_runs()))


def make_runs() -> list[list[str]]:
    """The runs of each pack."""
    return [pack["runs"]["run_id"] for pack in pack_entries()]


def amend(store: SweepStore, replaced: str, attempt: int) -> None:
    """The pack ran out of memory: another one trains its runs."""
    if store.current_pack(replaced) == replaced:
        store.pack(replaced).resume(attempt=attempt)
        pack = {**store.pack_plan(replaced), "pack_id": AMENDED[replaced]}
        store.amend(replaced=replaced, pack=pack, reason="no room", attempt=attempt)


def write_tables(store: SweepStore) -> None:
    """Made-up labels, twice: of what had ended when somebody looked, then of all."""
    run_ids = sorted(run.run_id for pack_id in store.pack_ids() for run in store.pack(pack_id).outcomes())
    store.write_runs(Sweep(store).runs_table())
    for ended in (run_ids[:1], run_ids):
        store.write_labels(pa.table({"run_id": ended, "phase": ["grokking"] * len(ended)}))


def published(root: Place) -> dict[str, bytes]:
    """Everything that readers of a sweep see, by name."""
    folders = (root / "traces", root / "measures", root / "snapshots", root / "weights")
    paths = [*root.glob("*.parquet"), *(path for folder in folders for path in folder.glob("*"))]
    return {relative(path, root): path.read_bytes() for path in paths}


# Behind the store's back


def overwrite(path: Place, data: bytes) -> None:
    if isinstance(path, ObjectPath):
        path.put(data)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def delete(path: Place) -> None:
    if isinstance(path, ObjectPath):
        path.remove()
    else:
        path.unlink()


def drop(root: Place) -> None:
    """A sweep in a bucket that nobody needs any more: lists of the loopback server take as long as it has objects."""
    if isinstance(root, ObjectPath):
        for path in places_below(root):
            delete(path)


def places_below(root: Place) -> list[Place]:
    """All files, or objects."""
    if isinstance(root, ObjectPath):
        below = [place for child in root.iterdir() for place in places_below(child)]
        return below or ([root] if root.exists() else [])
    return [path for path in root.rglob("*") if path.is_file()]


def contents(root: Place) -> dict[str, bytes]:
    """Of all files, or objects, by their names below `root`."""
    return {relative(path, root): path.read_bytes() for path in places_below(root)}


def copied(source: Place, target: Place) -> Place:
    """A copy of everything below `source`, where nothing was before."""
    if isinstance(source, ObjectPath):
        for name, data in contents(source).items():
            overwrite(target / name, data)
    else:
        shutil.copytree(source, str(target))
    return target


def identities(root: Place) -> dict[str, object]:
    """By name, what would be another if the file, or object, were written again."""
    if isinstance(root, ObjectPath):
        return {relative(path, root): path.version() for path in places_below(root) if isinstance(path, ObjectPath)}
    stats = {relative(path, root): path.stat() for path in root.rglob("*")}
    return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in stats.items()}
