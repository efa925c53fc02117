"""Explaining one run: what is said agrees with what was decided, and what would change the label does change it."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import Grokctl
from label_traces import BUDGET, CHANCE, NEVER, eval_steps, learns, rise, sweep
from test_labels_invariance import random_walks
from test_labels_neighbours import grid, sharp

from results import open_sweep
from results.classify import PHASE_ORDER, ClassifierSettings, label_runs
from results.classify.criteria import CRITERIA
from results.classify.examine import examine, key_moments, neighbours_of
from results.classify.pass1 import RULES
from results.classify.sentences import apart
from results.classify.settings import movable_knobs, moved
from results.classify.table import sort_runs
from results.classify.what_if import by_budget, one_run, smallest_changes
from results.phases_page import phases_page
from results.run_page import run_page
from results.text_plot import WIDTH, text_plot

DOCS = Path(__file__).resolve().parent.parent / "docs"
KNOBS = ClassifierSettings()


def one(train, val, *, from_step=0, **facts):
    """A run alone, ready to be examined."""
    steps = eval_steps()
    steps = steps[steps >= from_step]
    train, val = (x(steps) if callable(x) else np.broadcast_to(x, len(steps)) for x in (train, val))
    traces = pd.DataFrame({"run_id": "a", "step": steps, "train_accuracy": train, "val_accuracy": val})
    run = {"run_id": "a", "outcome": "ended", "steps": BUDGET, "chance_accuracy": CHANCE} | facts
    return sort_runs(traces, pd.DataFrame([run]))


def test_every_criterion_of_a_rule_is_put_in_words():
    assert {need for rule in RULES for need in rule.needs} == set(CRITERIA)


def test_what_is_explained_is_what_was_decided():
    traces, runs = random_walks(150, 5)
    runs = runs.drop(columns="train_size")  # without it nobody has neighbours
    sorted_runs = sort_runs(traces, runs)
    labels = label_runs(traces, runs).set_index("run_id")
    for place, run_id in enumerate(sorted_runs.config["run_id"]):
        found = examine(one_run(sorted_runs, place), run_id, KNOBS)
        assert found.label["phase"] == labels.loc[run_id, "phase"]
        assert all(answer.holds for answer in found.answers)
        alone = next(rule.phase for rule in RULES if rule.name == found.rule)
        assert all(other.phase != alone and (other.failed or other.came_first) for other in found.others)
        assert not any(answer.holds for other in found.others for answer in other.failed)
        assert "nan" not in "".join(value for _, value in key_moments(found))


def test_the_neighbour_of_a_short_delay_is_grokking_with_the_numbers():
    found = examine(one(learns(300), learns(1000)), "a", KNOBS)
    assert found.label["phase"] == "comprehension"
    nearest = found.others[0]
    assert nearest.phase == "grokking"
    assert [answer.question for answer in nearest.failed] == ["the delay is 1,000 steps or more"]
    assert nearest.failed[0].measured.startswith(f"{found.label['delay']:,.0f}, on the lines between rows")


@pytest.mark.parametrize(
    ("val", "from_step", "words"),
    [
        (0.4, 0, "what training held before validation left chance is not in the trace"),
        (learns(9000), 5000, "what training held before validation left chance is not in the trace"),
        (learns(9000), 3000, "3 times earlier the trace had not begun"),
        (learns(9000), 0, "3 times earlier it had 0.4"),
        (CHANCE, 0, "validation accuracy never left chance for good"),
    ],
)
def test_whether_training_had_stalled_is_told_where_it_was_seen(val, from_step, words):
    found = examine(one(learns(300, high=0.4), val, from_step=from_step), "a", KNOBS)
    together = CRITERIA["together"].measured(found.numbers, KNOBS)
    assert words in together
    assert "nan" not in together


def test_a_moved_knob_changes_the_label_and_a_smaller_move_does_not():
    sorted_runs = one(learns(300), learns(1000))
    changes = {change.knob: change for change in smallest_changes(sorted_runs, "a", KNOBS)}
    change = changes["delta_steps"]
    delay = examine(sorted_runs, "a", KNOBS).label["delay"]
    assert change.phase == "grokking"
    assert change.after == pytest.approx(delay, rel=0.02)
    for value, phase in ((change.after, "grokking"), (1.03 * change.after, "comprehension")):
        assert examine(sorted_runs, "a", ClassifierSettings(delta_steps=value)).label["phase"] == phase
    shares = [abs(change.share) for change in changes.values() if change.share]
    assert shares == sorted(shares)


def test_a_sure_label_is_changed_by_no_knob_near_it():
    assert smallest_changes(one(learns(300), CHANCE), "a", KNOBS) == []


def test_neighbours_have_their_say_in_what_would_change_a_label():
    traces, runs = sweep(grid(sharp))
    run_id = runs.loc[runs["train_size"] == 2000, "run_id"].iloc[0]
    sorted_runs = sort_runs(traces, runs)
    assert neighbours_of(runs, run_id) == sorted(runs["run_id"])
    found = examine(sorted_runs, run_id, KNOBS)
    assert (found.label["phase"], found.rule) == ("ungrokking", "fitted_only")
    assert "its size, 2,000, is below that interval" in found.among_neighbours
    page = run_page(found, sorted_runs, [], [], {})
    assert "decided by its neighbours (pass 2)" in page
    assert "yes below D50" in page


def test_the_label_by_budget_ends_with_the_label_and_begins_undecided():
    sorted_runs = one(learns(300), learns(10_000))
    stretches = by_budget(sorted_runs, "a", KNOBS)
    assert (stretches[0].phase, stretches[-1].phase) == ("undecided", "grokking")
    assert "memorization" in {stretch.phase for stretch in stretches}
    t_val = examine(sorted_runs, "a", KNOBS).label["t_val"]
    assert t_val < stretches[-1].first_step < 1.3 * t_val
    assert by_budget(one(np.nan, np.nan), "a", KNOBS)[-1].phase == "undecided"


IN_THE_WAY = {("earlier_from", 0.25), ("earlier_to", -0.25), ("earlier_to", 0.25)}
"""Moves past the other end of the stretch, or into the tail."""


def test_every_movable_knob_stays_in_its_range():
    assert {"theta", "delta_steps", "dwell_rows", "pass2_level"} <= set(movable_knobs(KNOBS))
    assert not {"require_plateau", "require_ratio", "chance", "theta_val"} & set(movable_knobs(KNOBS))
    for name in movable_knobs(KNOBS):
        for share in (-0.25, 0.25):
            other = moved(KNOBS, name, share)
            if (name, share) in IN_THE_WAY:
                assert other is None
                continue
            value = getattr(other, name)
            assert (value - getattr(KNOBS, name)) * share > 0
            assert ClassifierSettings(**{name: value})
    assert (moved(KNOBS, "theta", 0.25).theta, moved(KNOBS, "dwell_rows", 0.01).dwell_rows) == (1.0, 4)
    assert moved(ClassifierSettings(theta=1.0), "theta", 0.1) is None


def test_no_move_is_advised_that_settings_refuse():
    def hurries(steps):
        return np.interp(steps / BUDGET, (0, 0.01, 0.5, 0.7, 1), (CHANCE, 0.3, 0.4, 0.5, 0.62))

    sorted_runs = one(learns(300), hurries)  # earlier_to 0.936, within the tail, would change its label
    for change in smallest_changes(sorted_runs, "a", KNOBS):
        assert ClassifierSettings(**{change.knob: change.after})


def test_as_many_digits_are_shown_as_tell_a_number_from_its_threshold():
    assert [apart(x, 1.5) for x in (1.539, 1.4999, 1.2345, 1.5)] == ["1.54", "1.4999", "1.2", "1.5"]
    found = examine(one(learns(300), learns(1000)), "a", KNOBS)
    numbers = {**found.numbers, "creep_val": 0.1, "speeding": 1.539}
    assert "it gains 1.54 times as fast as before" in CRITERIA["val_arriving"].measured(numbers, KNOBS)


def test_undecided_claims_nothing():
    sorted_runs = one(np.nan, np.nan)
    found = examine(sorted_runs, "a", KNOBS)
    assert found.label["confidence"] == 0
    assert "undecided; confidence 0, for it claims nothing; decided by" in run_page(found, sorted_runs, [], [], {})


# The plot


def test_a_text_plot_shows_curves_marks_and_steps():
    steps = eval_steps()
    curves = {".": rise(steps, 100), "o": rise(steps, 5000)}
    lines = text_plot(steps, curves, {"T": 100, "V": 5000, "^": np.nan}).splitlines()
    field = [line[6:].ljust(WIDTH) for line in lines[:9]]
    assert field[-1][:20] == "o" * 20
    assert field[0].rstrip().endswith("oo")
    marks = lines[10][6:]
    for mark, step in (("T", 100), ("V", 5000)):
        assert abs(marks.index(mark) - np.log1p(step) / np.log1p(BUDGET) * WIDTH) <= 1
    assert "^" not in marks
    assert lines[-1].split() == ["1", "10", "100", "1,000", "50,000"]
    assert "\n".join(lines).isascii()


def test_a_text_plot_leaves_holes_where_nothing_was_measured():
    steps = np.arange(1000.0)
    plot = text_plot(steps, {"x": np.full(1000, np.nan), "o": np.full(1000, 2.0)}, {})
    assert "x" not in plot
    assert plot.splitlines()[0].endswith("o" * 30)


# The command


def some_run(folder):
    return str(open_sweep(folder).runs()["run_id"].iloc[0])


def test_explain_a_run_by_the_beginning_of_its_id(grokctl: Grokctl, finished_sweep: Path, tmp_path: Path) -> None:
    run_id = some_run(finished_sweep)
    result = grokctl("explain", finished_sweep, run_id[:6], "-o", tmp_path / "run.png")
    assert result.exit_code == 0, result.output
    phase = open_sweep(finished_sweep).labels(run_id=run_id)["phase"].item()
    for words in (f"run {run_id}", f"\n{phase}", "Key moments", f"Why {phase}", "What would change it", "width"):
        assert words in result.stdout
    assert (tmp_path / "run.png").read_bytes().startswith(b"\x89PNG")


def test_explain_under_other_thresholds(grokctl: Grokctl, finished_sweep: Path) -> None:
    result = grokctl("explain", finished_sweep, some_run(finished_sweep), "--set", "classifier.theta=0.05")
    assert "training accuracy holds 0.05" in result.stdout
    assert "The stored label is confusion: other thresholds." in result.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["zzzz"], 66, "no run's id begins with 'zzzz'"),
        ([""], 2, "4 runs' ids begin with ''"),
        ([], 2, "takes the id of a run too"),
    ],
)
def test_explain_refuses_what_is_no_run(grokctl: Grokctl, finished_sweep: Path, arguments, code, words) -> None:
    result = grokctl("explain", finished_sweep, *arguments)
    assert (result.exit_code, words in result.stderr) == (code, True), result.stderr


def test_explain_draws_no_other_files_than_pictures(grokctl: Grokctl, finished_sweep: Path, tmp_path: Path) -> None:
    assert grokctl("explain", finished_sweep, some_run(finished_sweep), "-o", tmp_path / "x.txt").exit_code == 2


# The documentation


def test_the_page_on_phases_is_current():
    page = (DOCS / "phases.md").read_text()
    assert page == phases_page(DOCS / "evidence"), "accept with: python docs/make_phases.py"
    assert all(f"## {phase}\n" in page for phase in PHASE_ORDER)


def test_examples_on_the_page_cover_what_was_trained():
    page = (DOCS / "phases.md").read_text()
    shown = {line.split(":")[0].removeprefix("### ") for line in page.splitlines() if line.startswith("### ")}
    assert {"comprehension", "grokking", "semi-grokking", "progression", "memorization", "confusion"} <= shown


def test_never_is_no_step():
    traces, runs = sweep([{"t_train": 300, "t_val": NEVER, "train_size": 9, "seed": 0}])
    found = examine(sort_runs(traces, runs), "run0000", KNOBS)
    assert ("validation accuracy holds 0.9", "never") in key_moments(found)


def test_validation_that_creeps_to_its_level_is_what_is_said_to_be_unfinished():
    """It gains less than what counts as a rise, and is nearly there."""

    def creeps(steps):
        return np.interp(steps / BUDGET, (0, 0.01, 0.5, 1), (CHANCE, 0.5, 0.8, 0.88))

    found = examine(one(learns(100), creeps), "a", KNOBS)
    assert found.label["phase"] == "undecided"
    assert "validation accuracy is still rising" in found.label["why"]
    assert any("creeps up" in answer.measured for answer in found.answers)
    still = examine(one(learns(100), lambda steps: np.minimum(creeps(steps), 0.8)), "a", KNOBS)
    assert still.label["phase"] in ("memorization", "semi-grokking")
