"""`--set name=value` changes a spec from outside and passes the same checks."""

import pytest
from spec_helpers import HOUSE, column, error_of, refusal_of, table_of

from orchestrator.spec import load_text


def test_base_values_are_replaced_or_added():
    config = table_of(
        "loss: cross_entropy\n", learning_rate="1e-2", steps="7", loss_dtype="float64", task="a*b", train_size="0.5"
    ).config(0)
    assert (config.learning_rate, config.steps, config.loss_dtype, config.task) == (0.01, 7, "float64", "a * b")
    assert config.train_size == 24


def test_an_axis_shrinks_to_the_value():
    table = table_of(HOUSE, width="32", seed="5")
    assert table.n_runs == 4
    assert table.axes["width"] == [32]
    assert set(column(table, "seed")) == {5}


def test_an_axis_of_a_zip_keeps_its_length():
    table = table_of("zip: {width: [4, 8], train_size: {linspace: [5, 10, 2]}}\n", train_size="9")
    assert column(table, "width") == [4, 8]
    assert column(table, "train_size") == [9, 9]


def test_an_axis_of_a_sample_is_no_longer_drawn():
    text = "sample: {count: 3, axes: {learning_rate: {uniform: [0, 1]}, dropout: {uniform: [0.1, 0.2]}}}\n"
    assert set(column(table_of(text, dropout="0.5"), "dropout")) == {0.5}


def test_betas_as_a_pair_or_one_by_one():
    assert table_of("", betas="[0.8, 0.9]").config(0).beta1 == 0.8
    config = table_of("optimizer: {betas: [0.8, 0.9]}\n", beta2="0.95").config(0)
    assert (config.beta1, config.beta2) == (0.8, 0.95)
    assert table_of("", beta1="0.5").config(0).beta2 == 0.999


def test_classifier_knobs():
    text = "name: x\nsteps: 5\ntrain_size: 5\n"
    assert load_text(text, overrides={"classifier.theta": "0.8"}).spec.classifier == {"theta": 0.8}


def test_the_file_is_kept_as_it_was():
    assert load_text(HOUSE, overrides={"width": "32"}).text == HOUSE


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("widht", "3", "--set widht=3: widht: unknown name 'widht'; did you mean 'width'?"),
        ("grid", "3", "unknown name 'grid'"),
        ("lr", "3", "did you mean 'learning_rate'?"),
        ("width", "x", "--set width=x: model.width: should be a whole number, is text 'x'"),
        ("width", "[4, 8]", "should be a whole number, is a list"),
        ("width", "", "is null"),
        ("width", "[", "--set width=[: width: not YAML"),
        ("width", "&a 3", "anchor"),
        ("task", "f(a)", "--set task=f(a): task.op: a call is not allowed"),
        ("steps", "true", "is true"),
        ("train_size", "50", "--set train_size=50: train_size: 50 is too many"),
        (
            "classifier.thta",
            "0.9",
            "--set classifier.thta=0.9: classifier.thta: unknown key 'thta'; did you mean 'theta'?",
        ),
        ("seed", "x", "--set seed=x: seeds.0: should be a whole number"),
    ],
)
def test_mistakes_name_the_option(name, value, words):
    assert words in refusal_of("", **{name: value})


def test_a_mistake_on_an_axis_names_the_option():
    assert refusal_of("grid: {width: [4]}\n", width="5").startswith("--set width=5: grid.width.0: 4 heads do not")


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("grid: {betas: [[0.9, 0.98]]}\n", "beta1", "0.5"),
        ("grid: {beta1: [0.9, 0.8]}\n", "betas", "[0.9, 0.9]"),
        ("grid: {task: [{modulus: 5}, {modulus: 7}]}\n", "modulus", "11"),
    ],
)
def test_an_option_that_an_axis_would_overrule_is_refused(text, name, value):
    assert "decides" in refusal_of(text, **{name: value})


def test_options_and_the_file_are_judged_together():
    problems = error_of("model: {widht: 3}\n", heads="x", lr="3").problems
    assert {problem.path for problem in problems} == {"model.widht", "model.heads", "lr"}
