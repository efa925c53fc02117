"""Predicted against actual time of packs, from the plan and from headers alone."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Grokctl
from launch_helpers import SLOTS, SPEC, freeze, launch_here

from orchestrator.accuracy import accuracy_text, measure_accuracy
from orchestrator.costs import FormulaCost
from orchestrator.plan import PlannedPack, make_plan
from orchestrator.spec import load_text
from results.headers import Header, StoredFile

PACK = make_plan(load_text(SPEC), SLOTS, FormulaCost(device="cpu")).packs[0]
STEPS = sum(PACK.values("steps"))


def pack(pack_id: str, estimated_s: float) -> PlannedPack:
    return replace(PACK, pack_id=pack_id, estimated_s=estimated_s)


def header(pack_id: str, wall_s: float, *, run_steps: int = STEPS, is_done: bool = True) -> Header:
    checkpoint = None if is_done else StoredFile(path="c", sha256="0")
    return Header(
        plan_id="p", pack_id=pack_id, segment=3, attempt=1, launch=1, run_steps=run_steps,
        lane_steps=2 * STEPS, segments=(), published=(),
        checkpoint=checkpoint, outcomes=(), wall_s=wall_s,
    )  # fmt: skip


def test_the_median_is_over_packs_that_are_done():
    packs = [pack("a", 100.0), pack("b", 50.0), pack("c", 300.0), pack("d", 7.0), pack("e", 7.0)]
    headers = {
        "a": header("a", 80.0),  # a quarter too much
        "b": header("b", 100.0),  # half of it
        "c": header("c", 300.0),
        "d": header("d", 1.0, is_done=False),
    }
    found = measure_accuracy(packs, headers)
    assert found is not None
    assert (found.packs, found.predicted_s, found.actual_s) == (3, 450.0, 480.0)
    assert found.median_error == pytest.approx(0.25)
    assert found.occupancy == 0.5
    assert accuracy_text(found).endswith("median error of a pack 25%; lanes were 50% busy")


def test_runs_that_end_early_are_no_error_of_the_prediction():
    found = measure_accuracy([pack("a", 100.0)], {"a": header("a", 50.0, run_steps=STEPS // 2)})
    assert found is not None
    assert found.median_error == pytest.approx(0.0)


def test_nothing_is_said_of_packs_that_nobody_timed():
    assert measure_accuracy([pack("a", 100.0)], {}) is None
    assert measure_accuracy([pack("a", 100.0)], {"a": header("a", 0.0)}) is None


def test_launch_and_status_tell_it_and_a_resume_adds_up(tmp_path: Path, grokctl: Grokctl):
    folder = tmp_path / "sweep"
    spec = freeze(folder)
    launch_here(spec, folder, max_hours=1e-9)
    launch_here(spec, folder)
    told = json.loads(grokctl("status", folder, "--json").stdout)["accuracy"]
    assert told["packs"] == 2
    assert 0 < told["actual_s"] < 60
    assert told["median_error"] > 0
    assert "median error of a pack" in grokctl("status", folder).stdout
    assert "median error of a pack" in grokctl("launch", spec, "--local", "--out", folder).stdout
