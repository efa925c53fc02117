"""The knobs: refused when unknown or out of range, stored with each label, and felt by the rules."""

import inspect
import json

import pytest
from label_traces import eval_steps, label, learns, sweep

from results.classify import CLASSIFIER_VERSION, PHASE_ORDER, PHASES, ClassifierSettings, explain_phase, label_runs
from results.classify.explain import explain_warning
from results.classify.table import read_runs, sort_runs
from results.classify.warning_texts import FROM_LOSSES, PROVISIONAL, WARNINGS, WAS


def test_theta_val_follows_theta_unless_it_is_set():
    assert ClassifierSettings.from_mapping({"theta": 0.95}).validation_level == 0.95
    assert ClassifierSettings.from_mapping({"theta": 0.95, "theta_val": 0.6}).validation_level == 0.6


def test_text_from_a_command_line_is_read():
    knobs = ClassifierSettings.from_mapping({"theta": "0.95", "delta_steps": "500", "require_plateau": "true"})
    assert (knobs.theta, knobs.delta_steps, knobs.require_plateau) == (0.95, 500, True)


def test_unknown_knobs_are_refused_with_the_nearest_name():
    with pytest.raises(ValueError, match="unknown knob 'delta_step'; did you mean 'delta_steps'") as error:
        ClassifierSettings.from_mapping({"delta_step": 500, "zzz": 1})
    assert "'zzz'; known knobs: theta" in str(error.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("theta", 0), ("theta", 1.1), ("theta", True), ("theta", float("nan")), ("theta", "high"), ("theta", None),
        ("delta_steps", -1), ("dwell_rows", 2.5), ("require_plateau", 1), ("surge_factor", 1.0), ("chance", 1.0),
    ],
)  # fmt: skip
def test_bad_values_are_refused_by_name(name, value):
    with pytest.raises(ValueError, match=rf"classifier\.{name}: .*, got"):
        ClassifierSettings.from_mapping({name: value})


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        (
            {"earlier_from": 0.9, "earlier_to": 0.1},
            "earlier_from should be less than earlier_to, is 0.9 with",
        ),
        ({"earlier_from": 0.8}, "earlier_from should be less than earlier_to"),
        ({"earlier_to": 0.95}, "earlier_to should be at most 0.9, where the tail begins, is 0.95 with tail 0.1"),
        ({"tail": 0.3}, "earlier_to should be at most 0.7"),
        ({"progression_least": 0.3}, "progression_least should be at most progression_floor, is 0.3 with"),
        ({"chance": 0.7, "theta_val": 0.6}, "chance should be less than theta_val, is 0.7 with theta_val 0.6"),
    ],
)
def test_knobs_that_contradict_each_other_are_refused(knobs, words):
    with pytest.raises(ValueError, match=rf"^classifier: {words}"):
        ClassifierSettings.from_mapping(knobs)
    assert ClassifierSettings(earlier_from=0.05, earlier_to=0.1, tail=0.9).earlier_to == 0.1
    assert ClassifierSettings(earlier_to=0.9, theta=0.5, theta_val=0.95, chance=0.3).earlier_to == 0.9


def test_every_knob_is_documented():
    lines = [line.strip() for line in inspect.getsource(ClassifierSettings).splitlines()]
    for name in ClassifierSettings.model_fields:
        place = next(i for i, line in enumerate(lines) if line.startswith(f"{name}:"))
        assert lines[place + 1].startswith('"""'), name


def test_labels_carry_version_and_thresholds():
    traces, runs = sweep([{"t_train": 300, "t_val": 9000, "train_size": 10, "seed": 0, "width": 7}])
    row = label_runs(traces, runs, ClassifierSettings(delta_steps=20_000)).iloc[0]
    assert (row["phase"], row["width"], row["classifier_version"]) == ("comprehension", 7, CLASSIFIER_VERSION)
    assert ClassifierSettings(**json.loads(row["thresholds"])) == ClassifierSettings(delta_steps=20_000)


def test_a_lower_validation_threshold_as_for_mnist():
    curves = learns(300), learns(10_000, high=0.8)
    assert label(*curves).phase == "semi-grokking"
    assert label(*curves, knobs={"theta_val": 0.6}).phase == "grokking"


def test_liu_looks_no_further_than_his_horizon():
    late = {"steps": eval_steps(400_000), "budget": 400_000}
    result = label(learns(300), learns(200_000), **late)
    assert (result.phase, result.liu_phase) == ("grokking", "memorization")
    assert label(learns(300), learns(200_000), **late, knobs={"liu_horizon_steps": 1e6}).liu_phase == "grokking"


def test_liu_has_no_name_for_validation_alone():
    assert label(learns(300, high=0.8), learns(500)).liu_phase == "undefined"


# explain


@pytest.mark.parametrize("name", PHASE_ORDER)
def test_each_phase_is_explained_with_its_neighbours_and_sources(name):
    text = explain_phase(name)
    assert text.startswith(f"{name}\n\n{PHASES[name].definition}")
    assert "Source: " in text
    assert "{" not in text
    assert PHASES[name].differs_from
    assert set(PHASES[name].differs_from) <= set(PHASE_ORDER) - {name}


def test_explanations_show_the_thresholds_in_use():
    knobs = ClassifierSettings(delta_steps=2500, theta_val=0.6)
    assert "holds 0.6, 2,500 steps or more after training accuracy holds 0.9" in explain_phase("grokking", knobs)


def test_an_unknown_phase_is_refused_with_the_nearest_name():
    with pytest.raises(ValueError, match="did you mean 'grokking'"):
        explain_phase("groking")


@pytest.mark.parametrize("name", [*WARNINGS, "was_grokking"])
def test_each_warning_is_explained_in_a_sentence_under_the_thresholds(name):
    text = explain_warning(name, ClassifierSettings(theta_val=0.6))
    assert text.startswith(f"{name}\n\n")
    assert text.endswith(".")
    assert "{" not in text
    assert "holds 0.6" in explain_warning("no_yes", ClassifierSettings(theta_val=0.6))


def test_every_warning_that_can_be_given_has_its_sentence():
    traces, runs = sweep([{"t_train": 300, "t_val": 9000, "train_size": 10, "seed": 0}])
    alone = read_runs(sort_runs(traces, runs), ClassifierSettings()).verdict.flags
    assert {*alone, PROVISIONAL, FROM_LOSSES, WAS} == set(WARNINGS)
    with pytest.raises(ValueError, match="no warning 'nope'"):
        explain_warning("nope")
