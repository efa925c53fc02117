"""Traces that are short, cut, broken or half measured: each has one documented label and none raises."""

import numpy as np
import pandas as pd
import pytest
from label_traces import BUDGET, CHANCE, eval_steps, flags, label, learns, rise, sweep

from results.classify import Trace, classify_trace, label_runs

STEPS = eval_steps()


def head(stop):
    return STEPS[stop >= STEPS]


@pytest.mark.parametrize("outcome", ["stopped", "ended", None])
def test_a_run_that_ends_early_without_generalizing_is_undecided(outcome):
    for train in (learns(300), CHANCE):
        result = label(train, CHANCE, steps=head(20_000), outcome=outcome)
        assert (result.phase, result.liu_phase) == ("undecided", "undecided")
        assert "stopped_early" in flags(result)
        assert "of 50,000" in result.why


def test_a_partly_generalized_run_that_ends_early_is_undecided():
    assert label(learns(300), learns(5000, high=0.4), steps=head(20_000)).phase == "undecided"
    assert label(learns(300), learns(5000, high=0.4)).phase == "semi-grokking"


def test_a_run_that_ends_early_after_generalizing_has_its_phase():
    result = label(learns(300), learns(5000), steps=head(20_000), outcome="stopped")
    assert (result.phase, result.liu_phase) == ("grokking", "grokking")


def test_a_stop_rule_may_cut_the_crossing_short():
    val = learns(5000)(STEPS)
    steps = STEPS[: np.argmax(val >= 0.9) + 1]
    stopped = label(learns(300), learns(5000), steps=steps, outcome="stopped")
    assert (stopped.phase, "crossing_cut_short" in flags(stopped)) == ("grokking", True)
    assert label(learns(300), learns(5000), steps=steps, outcome="ended").phase == "undecided"


def test_without_a_budget_the_last_row_is_the_end():
    assert label(learns(300), CHANCE, steps=head(20_000), budget=None).phase == "memorization"


def test_one_row_and_two_rows_are_undecided():
    for steps in ([0], [BUDGET], [0, BUDGET]):
        result = label(1.0, 0.0, steps=np.array(steps))
        assert (result.phase, result.confidence) == ("undecided", 0)
        assert "too_few_rows" in flags(result)
    assert label(1.0, 0.0, steps=np.array([0, 100, BUDGET])).phase == "memorization"


def test_losses_only_are_undecided():
    result = classify_trace(Trace(step=STEPS, train_loss=np.exp(-STEPS / 1e3), val_loss=np.ones(len(STEPS))))
    assert (result.phase, result.liu_phase) == ("undecided", "undecided")
    assert flags(result) == {"no_accuracy"}
    assert "accuracy" in result.why


@pytest.mark.parametrize("missing", ["train_accuracy", "val_accuracy"])
def test_one_accuracy_alone_is_undecided(missing):
    columns = {"train_accuracy": np.ones(len(STEPS)), "val_accuracy": np.ones(len(STEPS))}
    columns[missing] = np.full(len(STEPS), np.nan)
    assert flags(classify_trace(Trace(step=STEPS, **columns))) == {"no_accuracy"}


def test_rows_without_both_accuracies_are_left_out():
    val = learns(10_000)(STEPS)
    val[::2] = np.nan
    assert label(learns(300), val).phase == "grokking"


def test_divergence_is_read_from_the_outcome_and_keeps_the_phase_before():
    result = label(learns(300), learns(5000), steps=head(20_000), outcome="diverged")
    assert (result.phase, result.confidence, result.huang_dynamic) == ("diverged", 1, "none")
    assert "was_grokking" in flags(result)
    assert "until then grokking: training accuracy reached" in result.why
    assert label(learns(300), CHANCE, train_loss=np.full(len(STEPS), np.inf)).phase == "memorization"


def test_divergence_of_a_run_of_unknown_outcome_is_read_from_its_losses():
    loss = np.ones(len(STEPS))
    lost, gap = loss.copy(), loss.copy()
    lost[-5:], gap[40:50] = np.nan, np.nan
    infinite = np.where(STEPS > 40_000, np.inf, loss)
    phases = [label(learns(300), CHANCE, outcome=None, train_loss=x).phase for x in (loss, gap, lost, infinite)]
    assert phases == ["memorization", "memorization", "diverged", "diverged"]
    assert label(learns(300), CHANCE, outcome=None, param_norm=infinite).phase == "diverged"


def test_a_run_that_diverged_at_once_is_diverged():
    assert label(np.nan, np.nan, steps=np.array([0]), outcome="diverged").phase == "diverged"


def test_runs_without_a_trace_get_a_label_too():
    traces, runs = sweep([{"t_train": 300, "t_val": 9000, "train_size": 10, "seed": 0}])
    more = pd.DataFrame({"run_id": ["zzz", "aaa"], "outcome": ["failed", "diverged"], "train_size": [10, 10]})
    labels = label_runs(traces, pd.concat([runs, more]))
    assert labels["run_id"].tolist() == ["aaa", "run0000", "zzz"]
    assert labels["phase"].tolist() == ["diverged", "grokking", "undecided"]
    assert "failed" in labels["why"][2]


def test_no_runs_at_all():
    empty = pd.DataFrame({"run_id": pd.Series([], dtype=str), "step": pd.Series([], dtype=int)})
    assert label_runs(empty).empty


def test_traces_without_identity_are_refused():
    with pytest.raises(ValueError, match="missing: run_id"):
        label_runs(pd.DataFrame({"step": [1], "train_accuracy": [1.0]}))
    traces, runs = sweep([{"t_train": 300, "t_val": 9000, "train_size": 10, "seed": 0}])
    with pytest.raises(ValueError, match="more than one row"):
        label_runs(traces, pd.concat([runs, runs]))


def test_integer_accuracies_and_float32_are_read():
    steps = np.arange(0, 5000, 10)
    for dtype in (np.int64, np.float32, bool):
        val = (steps > 3000).astype(dtype)
        assert label((steps > 300).astype(dtype), val, steps=steps, budget=None).phase == "grokking"


def test_chance_rises_with_noise_in_a_short_log():
    steps = np.array([0, 10, 100, 1000, 10_000, BUDGET])
    assert label(rise(steps, 50), rise(steps, 50), steps=steps).phase == "comprehension"
