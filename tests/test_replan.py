"""Packs that have not started are cut anew for other devices; what has begun stays as it is, to the bit."""

import json
from pathlib import Path
from typing import Any

import pytest
from launch_helpers import SLOTS, SPEC, assert_same_traces, files_of, freeze, launch_here, listening, traces

from orchestrator import launcher
from orchestrator.costs import FormulaCost
from orchestrator.plan import Plan
from orchestrator.replanning import new_cut, not_started
from orchestrator.slots import Slots
from orchestrator.spec import load_text
from orchestrator.status import read_status, status_text
from orchestrator.worker import run_pack
from results.errors import FencedError
from results.store import SweepStore
from results.verify import verify

MANY = Slots(device="cpu", slots=6, cpus_per_pack=1, gpus_per_pack=0.0, has_compiler=False)
LONG = SPEC.replace("steps: 60", "steps: 6000000").replace("lanes: 2", "engine: eager")
"""So long that more slots are worth more packs."""


def sweep_of(tmp_path: Path, text: str = SPEC) -> tuple[SweepStore, Path]:
    """One pack has begun, the other has not."""
    spec = freeze(tmp_path / "sweep", text)
    store = SweepStore(tmp_path / "sweep")
    return store, spec


def begin(store: SweepStore) -> str:
    first = store.pack_ids()[0]
    assert run_pack(store.root, first, store.begin_attempt(), should_stop=lambda: True) == "drained"
    return first


def test_a_pack_with_a_commit_is_never_cut(tmp_path: Path):
    store, spec = sweep_of(tmp_path, LONG)
    plan = Plan.from_json(store.read_plan())
    waiting = not_started(plan, store)
    assert [pack.pack_id for pack in waiting] == store.pack_ids()
    cut = new_cut(waiting, load_text(spec.read_text(), spec), MANY, FormulaCost(device="cpu"))
    assert cut is not None
    assert len(cut["packs"]) > len(waiting)
    store.recut(**cut, attempt=store.begin_attempt())
    amended = Plan.from_json(store.read_plan())
    assert amended.slots["slots"] == 6
    assert sorted(r for pack in amended.packs for r in pack.run_ids) == sorted(
        r for pack in plan.packs for r in pack.run_ids
    )
    assert [pack.estimated_s for pack in amended.packs] == sorted((p.estimated_s for p in amended.packs), reverse=True)
    assert not set(cut["removed"]) & set(store.pack_ids())


def other_machine(monkeypatch: pytest.MonkeyPatch, slots: Slots) -> None:
    monkeypatch.setattr(launcher, "find_slots", lambda resources: slots)


def test_launch_replan_leaves_what_has_begun_and_trains_every_run_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    text = SPEC.replace("lanes: 2", "lanes: 4")  # what was planned with 4 lanes is now to be had with 2
    store, spec = sweep_of(tmp_path, text)
    undisturbed = tmp_path / "undisturbed"
    launch_here(freeze(undisturbed, text), undisturbed)
    begun = begin(store)
    before = {name: stat for name, stat in files_of(store.root).items() if name.startswith("plan")}
    spec.write_text(text)
    small = Slots(**{**SLOTS.__dict__, "pack_memory_bytes": 1.0})
    small = Slots(**{**small.__dict__, "pack_memory_bytes": _memory_for_two_lanes(store)})
    other_machine(monkeypatch, small)
    assert launch_here(spec, store.root, replan=True).exit_code == 0
    assert verify(store.root) == []
    assert {name: files_of(store.root)[name] for name in before} == before
    plan = Plan.from_json(store.read_plan())
    assert begun in plan.by_id
    assert {pack.settings.lanes for pack in plan.packs if pack.pack_id != begun} == {2}
    (amendment,) = store.read_plan()["amendments"]
    assert "cut anew" in amendment["reason"]
    assert amendment["reason"] in status_text(read_status(store.root))
    rows = traces(store.root)
    assert not rows.duplicated(["run_id", "step"]).any()
    whole = traces(undisturbed)
    assert len(rows) == len(whole)
    of_begun = set(plan.by_id[begun].run_ids)
    for column in ("train_loss", "param_norm"):
        both = [frame[frame["run_id"].isin(of_begun)][column].tolist() for frame in (rows, whole)]
        assert both[0] == both[1], "to the bit"


def _memory_for_two_lanes(store: SweepStore) -> float:
    cost, config = FormulaCost(device="cpu"), Plan.from_json(store.read_plan()).packs[0].config(0)
    return cost.memory_bytes(config, 2) + 0.5 * (cost.memory_bytes(config, 3) - cost.memory_bytes(config, 2))


def test_a_plan_that_fits_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store, spec = sweep_of(tmp_path)
    undisturbed = tmp_path / "undisturbed"
    launch_here(freeze(undisturbed), undisturbed)
    begin(store)
    console, said = listening()
    other_machine(monkeypatch, SLOTS)
    monkeypatch.setattr(launcher, "new_cut", lambda *args: None)
    launch_here(spec, store.root, replan=True, console=console)
    assert "nothing to cut anew: the plan fits" in said
    assert store.read_plan()["amendments"] == []
    assert_same_traces(store.root, undisturbed)


def test_without_replan_a_launch_on_other_devices_says_that_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    store, spec = sweep_of(tmp_path)
    console, said = listening()
    other_machine(monkeypatch, MANY)
    launch_here(spec, store.root, console=console)
    assert [line for line in said if "--replan" in line] == [
        "planned for 2 slots (cpu); now there are 6 (cpu): --replan cuts packs that have not started anew"
    ]


def test_runs_added_on_other_devices_are_planned_for_those(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = tmp_path / "sweep"
    spec = freeze(folder)
    launch_here(spec, folder)
    console, said = listening()
    other_machine(monkeypatch, MANY)
    spec.write_text(SPEC.replace("seeds: 2", "seeds: 3"))
    launch_here(spec, folder, console=console)
    assert Plan.from_json(SweepStore(folder).read_plan()).slots["slots"] == 6
    assert not [line for line in said if "--replan" in line]


def test_a_launch_that_was_taken_over_cuts_nothing(tmp_path: Path):
    store, spec = sweep_of(tmp_path, LONG)
    waiting = not_started(Plan.from_json(store.read_plan()), store)
    cut: Any = new_cut(waiting, load_text(spec.read_text(), spec), MANY, FormulaCost(device="cpu"))
    attempt = store.begin_attempt()
    store.begin_attempt()
    with pytest.raises(FencedError):
        store.recut(**cut, attempt=attempt)
    assert not list(store.root.glob("plan.0*.json"))


def test_a_pack_with_half_the_lanes_for_want_of_memory_keeps_them(tmp_path: Path):
    store, _ = sweep_of(tmp_path)
    pack_id = store.pack_ids()[0]
    smaller = Plan.from_json(store.read_plan()).by_id[pack_id].with_half_the_lanes()
    store.amend(replaced=pack_id, pack=smaller.to_json(), reason="no room", attempt=store.begin_attempt())
    waiting = not_started(Plan.from_json(json.loads(json.dumps(store.read_plan()))), store)
    assert smaller.pack_id not in [pack.pack_id for pack in waiting]
    assert len(waiting) == len(store.pack_ids()) - 1
