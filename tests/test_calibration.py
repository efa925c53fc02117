"""The machine's speed: fitted to what was timed, kept in the user's cache, read by the planner."""

import json
from dataclasses import astuple, replace
from pathlib import Path

import pytest
from conftest import Grokctl
from launch_helpers import SLOTS, SPEC, launch_here

from orchestrator import calibration, launcher
from orchestrator.calibration import (
    PACKS,
    calibrate,
    calibration_path,
    fit,
    measure,
    median_error,
    read_calibration,
    stored_cost,
)
from orchestrator.plan import make_plan
from orchestrator.plan_summary import plan_text
from orchestrator.spec import load_text
from trainers.config import RunConfig
from trainers.cost import SPEEDS, Speed, seconds_per_run_step, work_of_step
from trainers.references import reference_packs

SLOW = Speed(flops=5e-11, activations=3e-9, logits=2e-8, parameters=8e-9, operations=2e-5)


def times_of(speed: Speed, names: tuple[str, ...] = PACKS["eager"]) -> dict[str, float]:
    """What a machine of this speed would be timed at."""
    packs = reference_packs()
    works = {name: astuple(work_of_step(*packs[name], evaluations=False)) for name in names}
    return {name: sum(a * s for a, s in zip(work, astuple(speed), strict=True)) for name, work in works.items()}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def slow_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times are those of a slow machine; the compiled engine is fast."""
    speeds = {"eager": SLOW, "compiled": Speed(**{name: s / 10 for name, s in vars(SLOW).items()})}
    monkeypatch.setattr(calibration, "measure", lambda slots, engine: times_of(speeds[engine], PACKS[engine]))


def test_the_fit_finds_the_speed_of_a_machine_that_follows_the_formula():
    found = fit(times_of(SLOW), SPEEDS["cpu"]["eager"])
    config = RunConfig(modulus=113, width=32, train_size=3000, steps=50000)
    for lanes in (1, 8, 64):
        expected = seconds_per_run_step(config, lanes, SLOW)
        assert seconds_per_run_step(config, lanes, found) == pytest.approx(expected, rel=0.05)
    assert median_error(times_of(SLOW), found) < 0.03
    assert median_error(times_of(SLOW), SPEEDS["cpu"]["eager"]) > 0.3


def test_what_the_packs_leave_open_keeps_its_proportion():
    shipped = SPEEDS["cpu"]["eager"]
    twice = Speed(**{name: 2 * s for name, s in vars(shipped).items()})
    found = fit(times_of(twice, ("p113-64x4",)), shipped)
    assert astuple(found) == pytest.approx(astuple(twice), rel=0.01)


def test_noise_makes_no_speed_negative():
    times = {name: t * factor for (name, t), factor in zip(times_of(SLOW).items(), (5, 1, 0.2) * 3, strict=False)}
    assert min(astuple(fit(times, SPEEDS["cpu"]["eager"]))) >= 0


def test_what_was_measured_is_what_plans_are_made_with(slow_machine: None):
    assert not stored_cost(SLOTS).calibrated
    calibrate(SLOTS)
    cost = stored_cost(SLOTS)
    assert cost.calibrated
    config = RunConfig(modulus=31, width=8, train_size=400, steps=8000)
    expected = seconds_per_run_step(config, 8, SLOW)
    assert cost.seconds_per_run_step(config, 8, "eager") == pytest.approx(expected, rel=0.05)
    # The compiled engine was not timed: as much faster than eager as on the machine that the constants come from.
    shipped = {e: seconds_per_run_step(config, 8, SPEEDS["cpu"][e]) for e in ("eager", "compiled")}
    ratio = cost.seconds_per_run_step(config, 8, "compiled") / cost.seconds_per_run_step(config, 8, "eager")
    assert ratio == pytest.approx(shipped["compiled"] / shipped["eager"], rel=0.5)
    plan = make_plan(load_text(SPEC), SLOTS, cost)
    assert "from this machine's calibration" in plan_text(plan)


def test_the_compiled_engine_is_measured_when_asked_for_and_kept(slow_machine: None):
    config = RunConfig(modulus=31, width=8, train_size=400, steps=8000)
    calibrate(SLOTS, ["eager", "compiled"])
    measured = stored_cost(SLOTS).seconds_per_run_step(config, 8, "compiled")
    calibrate(SLOTS)
    assert stored_cost(SLOTS).seconds_per_run_step(config, 8, "compiled") == measured
    assert set(read_calibration(SLOTS)[0].errors) == {"eager", "compiled"}  # type: ignore[union-attr]


def test_other_slots_are_another_machine(slow_machine: None):
    calibrate(SLOTS)
    assert not stored_cost(replace(SLOTS, cpus_per_pack=2)).calibrated
    assert not stored_cost(replace(SLOTS, slots=1)).calibrated


@pytest.mark.parametrize("damage", ["cut", "foreign", "negative", "nothing", "text"])
def test_a_damaged_or_foreign_file_is_ignored_with_a_note(
    slow_machine: None, grokctl: Grokctl, tmp_path: Path, damage: str
):
    calibrate(SLOTS)
    path = calibration_path(SLOTS)
    record = json.loads(path.read_text())
    if damage == "foreign":
        record["machine"]["cpu"] = "another"
    if damage == "negative":
        record["speeds"]["eager"]["flops"] = -1.0
    if damage == "nothing":
        record["speeds"]["eager"] = dict.fromkeys(record["speeds"]["eager"], 0.0)
    text = {"cut": path.read_text()[:40], "text": "[]"}.get(damage, json.dumps(record))
    path.write_text(text)
    found, note = read_calibration(SLOTS)
    assert found is None
    assert str(path) in note
    assert "doctor --calibrate" in note
    assert not stored_cost(SLOTS).calibrated


def test_plan_says_that_a_file_is_no_use(slow_machine: None, grokctl: Grokctl, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("orchestrator.machine.find_slots", lambda resources: SLOTS)
    (tmp_path / "spec.yaml").write_text(SPEC)
    calibrate(SLOTS)
    assert "from this machine's calibration" in grokctl("plan", tmp_path / "spec.yaml").stdout
    calibration_path(SLOTS).write_text("{}")
    result = grokctl("plan", tmp_path / "spec.yaml")
    assert "uncalibrated" in result.stdout
    assert "doctor --calibrate" in result.stderr


def test_nothing_but_the_file_is_left(slow_machine: None, cache: Path):
    calibrate(SLOTS)
    calibrate(SLOTS)
    assert [path for path in cache.rglob("*") if path.is_file()] == [calibration_path(SLOTS)]


def test_the_real_engine_is_timed_side_by_side():
    times = measure_toy()
    assert set(times) == {"toy-32x8"}
    assert 1e-5 < times["toy-32x8"] < 1.0


def measure_toy() -> dict[str, float]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PACKS, "eager", ("toy-32x8",))
        return measure(SLOTS, "eager")


def launched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threshold_s: float) -> list[object]:
    asked: list[object] = []
    monkeypatch.setattr(launcher, "CALIBRATE_FROM_S", threshold_s)
    monkeypatch.setattr(launcher, "calibrate", lambda slots: asked.append(slots))
    spec = tmp_path / "spec.yaml"
    spec.write_text(SPEC)
    assert launch_here(spec, tmp_path / "sweep", only="width == 4").exit_code == 0
    assert launch_here(spec, tmp_path / "sweep").exit_code == 0
    return asked


def test_a_long_sweep_is_worth_measuring_the_machine_first_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert len(launched(tmp_path, monkeypatch, threshold_s=0.0)) == 1


def test_a_short_sweep_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert launched(tmp_path, monkeypatch, threshold_s=300.0) == []


def test_a_launch_goes_on_where_measuring_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(calibration.sys, "executable", "/bin/false")
    monkeypatch.setattr(launcher, "CALIBRATE_FROM_S", 0.0)
    spec = tmp_path / "spec.yaml"
    spec.write_text(SPEC)
    assert launch_here(spec, tmp_path / "sweep").exit_code == 0
    assert read_calibration(SLOTS) == (None, "")
