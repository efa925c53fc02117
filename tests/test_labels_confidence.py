"""How sure a label is: as sure as the trace's own noise and its trend allow, and no family's habits beyond that."""

from dataclasses import fields

import numpy as np
import pytest
from label_traces import BUDGET, CHANCE, eval_steps, learns, rise

from results.classify import ClassifierSettings, Trace
from results.classify.calibration import OUTLOOK, READING, outlook, reading, strangers
from results.classify.confidence import DECIDED_ON, MAY_COME, QUESTIONS, Sureness
from results.classify.examine import examine, how_sure
from results.classify.noise import LONGEST, half_step, level_near, median_error, noise_at, time_error
from results.classify.pass1 import RULES
from results.classify.table import read_runs, sort_runs

STEPS = eval_steps()


def trace(train, val, *, steps=STEPS):
    train_x, val_x = (x(steps) if callable(x) else np.broadcast_to(x, len(steps)) for x in (train, val))
    return Trace(step=steps, train_accuracy=train_x, val_accuracy=val_x, steps=BUDGET, chance_accuracy=CHANCE)


def sureness_of(train, val, **facts) -> dict:
    sure: Sureness = read_runs(sort_runs(*trace(train, val, **facts).frames()), ClassifierSettings()).verdict.sureness
    own = {field.name: getattr(sure, field.name)[0] for field in fields(Sureness)}
    return own | {name: getattr(sure, name)[0] for name in ("read", "outlook", "confidence")}


def noisy(level, deviation):
    return np.clip(level + deviation * np.random.default_rng(0).normal(size=len(STEPS)), 0, 1)


# Noise


def test_noise_is_what_rows_differ_from_their_neighbours_by():
    draw, n = np.random.default_rng(0), 4000
    slope = np.linspace(0, 1, 60)
    x = slope + 0.02 * draw.normal(size=(n, 60))
    assert np.mean(noise_at(x, np.full(n, 30))) == pytest.approx(0.02, rel=0.05)
    np.testing.assert_allclose(noise_at(slope[None], np.array([30])), 0, atol=1e-12)
    spiked = x.copy()
    spiked[:, 30] = 0
    assert np.mean(noise_at(spiked, np.full(n, 30))) < 0.1


def test_noise_is_local():
    quiet_then_restless = np.where(np.arange(100) < 50, 0.0, np.tile([0.1, -0.1], 50))[None]
    assert noise_at(quiet_then_restless, np.array([20]))[0] == 0
    assert noise_at(quiet_then_restless, np.array([80]))[0] > 0.1


def test_noise_of_the_first_rows_and_of_short_traces():
    assert noise_at(np.array([[0.1, 0.9]]), np.array([0]))[0] == 0
    assert noise_at(np.array([[0.0, 0.3, 0.0]]), np.array([2]))[0] == pytest.approx(0.3 / 0.967 / np.sqrt(1.5))


def test_errors_by_hand():
    step = np.arange(0, 1000, 10.0)
    climbs = np.minimum(step / 500, 1)[None]
    restless = climbs + np.tile([0.01, -0.01], 50)
    row = np.array([20])
    assert time_error(climbs, climbs, step, row)[0] == pytest.approx(0, abs=1e-9)
    assert time_error(restless, climbs, step, row)[0] == pytest.approx(noise_at(restless, row)[0] * 500)
    assert np.isnan(time_error(climbs, climbs, step, np.array([-1]))[0])
    assert half_step(climbs, row)[0] == pytest.approx(0.02)
    assert level_near(climbs, step, 0.5)[0] == pytest.approx(1.0, abs=0.02)
    noise = np.array([0.4])
    assert median_error(noise, 4)[0] == pytest.approx(1.25 * 0.4 / 2)
    assert median_error(noise, 4, 4)[0] == pytest.approx(1.25 * 0.4 / np.sqrt(2))


# What was read


def test_steps_beyond_all_bounds_leave_an_error_that_is_a_number():
    # A warning is an error here; hostile tables of other tools have such steps.
    steps = np.array([1.0, 2.0, 3.0, 1e300, 3e300, 9e300])
    accuracy = np.array([[0.1, 0.6, 0.2, 0.5, 0.1, 0.5]])
    assert time_error(accuracy, np.zeros((1, 6)), steps, np.array([3])) == [LONGEST]


def test_steps_beyond_all_bounds_leave_a_confidence():
    train, val = np.array([0.0, 0, 1, 1, 1, 1]), np.array([0, 0, 0, 0.5, 1, 1])
    traces, runs = trace(train, val, steps=np.arange(1, 7)).frames()
    traces["step"] = [1.0, 2.0, 3.0, 1e300, 3e300, 9e300]
    sure = read_runs(sort_runs(traces, runs), ClassifierSettings()).verdict.sureness
    assert 0 <= sure.confidence[0] <= 1


def test_the_same_margin_is_surer_in_a_quiet_trace():
    """Training ends .03 above the level, whatever the noise."""
    sure = {deviation: sureness_of(noisy(0.93, deviation), CHANCE) for deviation in (0.0, 0.01, 0.03)}
    assert {found["doubt"] for found in sure.values()} == {"train"}
    assert sure[0.0]["distance"] > 4 * sure[0.01]["distance"] > 6 * sure[0.03]["distance"]
    assert sure[0.0]["read"] > sure[0.01]["read"] > sure[0.03]["read"]
    assert sure[0.0]["confidence"] > sure[0.03]["confidence"] + 0.02


def test_noise_far_from_any_threshold_leaves_a_label_sure():
    assert sureness_of(noisy(0.99, 0.01), noisy(CHANCE, 0.003))["read"] > 0.97


def test_a_delay_between_coarse_rows_is_less_sure_than_between_dense_ones():
    coarse, dense = (
        sureness_of(learns(3000), learns(3900), steps=np.arange(0, BUDGET + 1, gap)) for gap in (1000, 100)
    )
    assert 0.5 < coarse["side"] < 0.9 < dense["side"]
    assert coarse["doubt"] == "delay"
    assert sureness_of(learns(300), learns(9000))["side"] == pytest.approx(1)


def test_a_network_that_generalizes_from_the_first_row_on_has_a_sure_delay():
    """Trained on after it had generalized: validation is flat, and noise over no slope could be a crossing anywhere."""
    trained_on = noisy(0.97, 0.01)
    found = sureness_of(noisy(0.98, 0.005), trained_on)
    assert found["side"] > 0.99
    assert found["confidence"] > 0.9


def test_noise_blurs_a_delay_near_the_threshold_and_no_other():
    def prompt_by(middle, deviation):
        slow = rise(STEPS, middle)
        restless = deviation * np.random.default_rng(0).normal(size=len(STEPS)) * ((slow > 0.05) & (slow < 0.99))
        return sureness_of(learns(100), np.clip(slow + restless, 0, 1))["side"]

    assert prompt_by(830, 0.0) > prompt_by(830, 0.02) > prompt_by(830, 0.04)
    assert prompt_by(400, 0.02) == pytest.approx(1, abs=1e-3)


# What may still come


def test_a_creep_towards_the_level_is_less_sure_than_a_plateau():
    flat = sureness_of(learns(300), np.where(STEPS > 300, 0.6, CHANCE))
    creep = sureness_of(learns(300), np.where(STEPS > 300, 0.6 + 0.03 * np.log2(np.maximum(STEPS, 1) / BUDGET), CHANCE))
    assert flat["trend"] > creep["trend"]
    assert flat["outlook"] > creep["outlook"]


def test_a_trend_that_drowns_in_noise_is_none():
    gain = 0.02 * np.log2(np.maximum(STEPS, 1) / BUDGET)
    clear = sureness_of(learns(300), np.where(STEPS > 300, 0.75 + gain, CHANCE))
    drowned = sureness_of(learns(300), np.where(STEPS > 300, noisy(0.75, 0.1) + gain, CHANCE))
    assert clear["trend"] < drowned["trend"]


def test_what_was_seen_stays_so():
    done = sureness_of(learns(300), learns(9000))
    assert np.isnan(done["trend"])
    assert done["outlook"] == 1
    assert done["confidence"] > sureness_of(learns(300), CHANCE)["confidence"]


# The scales, the rules, the words


def test_scales_rise_and_stay_probabilities():
    far = np.linspace(0, 100, 500)
    for shares in (reading(far), outlook(far / 25 - 1), strangers(far / 100)):
        assert (np.diff(shares) >= 0).all()
        assert 0 <= shares.min() < shares.max() <= 1
    assert (reading(np.array([np.inf]))[0], reading(np.zeros(1))[0]) == (READING[-1], READING[0])
    assert outlook(np.array([-9.0, 9.0])) == pytest.approx([OUTLOOK[0], OUTLOOK[-1]])


def test_each_rule_that_names_a_phase_knows_what_it_hangs_on():
    naming = {rule.name for rule in RULES if rule.phase != "undecided"}
    assert set(DECIDED_ON) == naming
    assert set(MAY_COME) < naming
    assert {name for quantities in DECIDED_ON.values() for name in quantities} | {"delay"} == set(QUESTIONS)


def test_an_explanation_says_what_is_least_certain():
    runs = sort_runs(*trace(noisy(0.92, 0.02), CHANCE).frames())
    lines = how_sure(examine(runs, "trace", ClassifierSettings()))
    assert "whether training holds its level" in lines[0]
    assert "standard errors of the trace's own noise" in lines[0]
    assert "3 times the budget" in lines[1]
    seen = sort_runs(*trace(learns(300), learns(9000)).frames())
    assert how_sure(examine(seen, "trace", ClassifierSettings()))[1] == "what was seen stays so"
    rising = sort_runs(*trace(learns(300), learns(60_000)).frames())
    assert how_sure(examine(rising, "trace", ClassifierSettings())) == []
