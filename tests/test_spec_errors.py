"""What is said about a bad spec: everything at once, where it stands, what is allowed, what was probably meant."""

import os

import pytest
from spec_helpers import HOUSE, error_of, refusal_of

from orchestrator.errors import EXIT_BAD_DATA, EXIT_MISSING_INPUT, EXIT_PERMISSION, SpecError, UserError
from orchestrator.spec import load_spec, load_text

EVERYTHING_WRONG = """\
name: bad name
tsk: {op: a}
task: {kind: modular, op: a + f(a), modulus: 1}
model: {kind: transformr, depth: true, lr: 3}
optimizer: {kind: adamw, learning_rate: .nan, betas: [0.9]}
width: 3
train_size: 2.5
grid:
  widht: [4]
  heads: [1, 1]
  width: [8, 9, x]
  init_scale: {geomspace: [0, 1, 3]}
  batch_size: []
  warmup_steps: 10
zip: {mlp_ratio: [1, 2], embedding_dim: [1]}
where: width * f(3) < 2
seeds: true
diagram: {x: width}
classifier: {theta: 2, foo: 3}
resources: {device: tpu}
keep: {weights: all}
"""


def test_all_problems_come_at_once_in_the_order_of_the_file():
    error = error_of(EVERYTHING_WRONG)
    assert error.exit_code == EXIT_BAD_DATA
    assert [problem.path for problem in error.problems] == [
        "name", "tsk", "task.op", "task.modulus", "model.kind", "model.depth", "model.lr", "optimizer.learning_rate",
        "optimizer.betas.1", "width", "train_size", "grid.widht", "grid.heads.1", "grid.width.2", "grid.init_scale",
        "grid.batch_size", "grid.warmup_steps", "zip", "where", "seeds", "diagram.y", "classifier.theta",
        "classifier.foo", "resources.device", "keep.weights",
    ]  # fmt: skip
    lines = [int(problem.where.split(":")[1]) for problem in error.problems]
    assert lines == sorted(lines)


def test_what_keys_say_together_is_checked_beside_what_is_wrong_alone():
    text = "stepz: 3\nmodel: {heads: 3, lr: 1}\ngrid: {width: [3, 4], train_size: [20, 5000]}\n"
    assert [p.path for p in error_of(text).problems] == ["stepz", "model.lr", "grid.width.1", "grid.train_size.1"]


def test_nothing_is_concluded_from_what_is_wrong():
    """Without its width, 3 heads are neither right nor wrong."""
    assert [p.path for p in error_of("model: {heads: 3, width: x}\n").problems] == ["model.width"]
    assert [p.path for p in error_of("model: {heads: 3, widht: 6}\n").problems] == ["model.widht"]


def test_a_problem_points_into_the_expression():
    lines = refusal_of("task: {op: a * b + f(a), modulus: 7}\n").splitlines()
    assert lines[0].startswith("spec.yaml:4:20: task.op: a call is not allowed; allowed: ")
    assert lines[2].index("^") == lines[1].index("f(a)")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "model: {widht: 3}\n",
            "5:9: model.widht: unknown key 'widht'; did you mean 'width'? Allowed: kind, width, depth",
        ),
        ("model: {d_model: 3}\n", "did you mean 'width'?"),
        ("width: 3\n", "it belongs in `model: {width: ...}`"),
        ("wieght_decay: 1\n", "unknown key 'wieght_decay'; did you mean optimizer.weight_decay? Allowed: name"),
        ("model: {lr: 3}\n", "it belongs in `optimizer: {learning_rate: ...}`"),
        ("task: {modulus: 7, batch_size: 3}\n", "it belongs in `batch_size:` at the top of the spec"),
        ("grid: {lr: [1]}\n", "unknown axis 'lr'; did you mean 'learning_rate'?"),
        ("grid: {op: [a + b]}\n", "unknown axis 'op'; did you mean 'task'?"),
        ("sample: {count: 2, axes: {widht: {choice: [1]}}}\n", "did you mean 'width'?"),
        ("optimizer: adamW\n", "should be 'adamw', 'adam' or 'sgd', is text 'adamW'; did you mean 'adamw'?"),
        ("classifier: {thta: 0.9}\n", "did you mean 'theta'?"),
        ("diagram: {x: widht, y: seed}\ngrid: {width: [4, 8]}\n", "did you mean 'width'? Axes: width, seed"),
        ("grid: {betas: [[0.9, 0.98]]}\ndiagram: {x: betas, y: seed}\n", "draw beta1 or beta2"),
    ],
)
def test_what_was_meant(text, words):
    assert words in refusal_of(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("steps: true\n", "steps: should be a whole number, is true"),
        ("steps: 10.0\n", "steps: should be a whole number, is 10.0"),
        ("steps: '10'\n", "is text '10'; numbers are written without quotes and underscores"),
        ("steps: 1_000\n", "is text '1_000'; numbers are written without quotes and underscores"),
        ("steps: 0\n", "steps: should be at least 1, is 0"),
        ("grid: {train_size: {linspace: [0.25, 1.0, 4]}}\n", "or a fraction of the table below 1, is 1.0"),
        ("grid: {train_size: {logspace: [-2, 0, 3]}}\n", "or a fraction of the table below 1, is 1.0"),
        ("grid: {train_size: {range: [0.5, 1.5, 0.5]}}\n", "or a fraction of the table below 1, is 1.0"),
        ("steps: [1]\n", "steps: should be a whole number, is a list"),
        ("optimizer: {learning_rate: true}\n", "learning_rate: should be a number, is true"),
        ("optimizer: {weight_decay: .nan}\n", "weight_decay: should be a finite number, is .nan"),
        ("optimizer: {weight_decay: .inf}\n", "is .inf"),
        ("optimizer: {weight_decay: -1}\n", "should be at least 0, is -1"),
        ("model: {dropout: 1}\n", "should be less than 1, is 1"),
        ("model: {biases: yes}\n", "should be true or false, is text 'yes'"),
        ("model: 3\n", "model: should be a mapping, is 3"),
        ("grid:\n", "grid: should be a mapping, is null"),
        ("grid: [1]\n", "grid: should be a mapping, is a list"),
        ("grid: {width: [true]}\n", "grid.width.0: should be a whole number, is true"),
        ("grid: {width: 8}\n", "grid.width: an axis is a list of values or one of {linspace: [...]}"),
        ("grid: {width: []}\n", "grid.width: an axis needs at least one value"),
        ("grid: {width: [8, 8]}\n", "grid.width.1: 8 appears twice"),
        ("grid: {weight_decay: [1, 1.0]}\n", "1.0 appears twice"),
        ("grid: {task: [a + b, (a+b)]}\n", "'a + b' appears twice"),
        ("grid: {width: {linspace: [4, 8, 4]}}\n", "should be a whole number, is 5.33333333333"),
        ("grid: {width: {linspace: [4, 8]}}\n", "linspace takes three finite numbers, [first, last, count]"),
        ("grid: {width: {linspace: [4, 8, 0]}}\n", "count of values"),
        ("grid: {width: {linspace: [4, 8, true]}}\n", "three finite numbers"),
        ("grid: {weight_decay: {range: [0, 1, 0]}}\n", "not 0"),
        ("grid: {weight_decay: {range: [1, 0, 1]}}\n", "empty"),
        ("grid: {weight_decay: {range: [0, 1, 1e-300]}}\n", "1,000,000 values"),
        ("grid: {weight_decay: {linspace: [0, 1, 1000000000]}}\n", "1 to 1,000,000"),
        ("grid: {weight_decay: {logspace: [0, 1e9, 3]}}\n", "exponents"),
        ("grid: {task: {range: [0, 3, 1]}}\n", "task takes a list"),
        ("grid: {task: [{modulo: 3}]}\n", "unknown key 'modulo'; did you mean 'modulus'?"),
        ("grid: {task: [a - b, f(a)]}\n", "grid.task.1: a call"),
        ("optimizer: {betas: [0.9, 0.98, 1]}\n", "should have 2 values, has 3"),
        ("seeds: 0\n", "between 1 and 1,000,000"),
        ("seeds: [1, 1]\n", "twice"),
        ("seeds: []\n", "seeds"),
        ("seeds: [-1]\n", "at least 0"),
        ("seeds: 3\ngrid: {seed: [1, 2]}\n", "seed is an axis already"),
        ("seeds: 3\nsample: true\n", "sample: should be a mapping, is true"),
        (
            "zip: {width: [4, 8], depth: [1]}\n",
            "zip: axes that move together are equally long; width has 2, depth has 1",
        ),
        ("grid: {width: [4]}\nzip: {width: [8]}\n", "width is set twice"),
        ("grid: {beta1: [0.5]}\nzip: {betas: [[0.9, 0.98]]}\n", "beta1 is set twice"),
        ("grid: {modulus: [5], task: [{modulus: 7}]}\n", "modulus is set twice"),
        ("sample: {count: 3, axes: {}}\n", "names no axis"),
        ("sample: {axes: {width: {choice: [4]}}}\n", "sample.count: is missing"),
        ("sample: {count: 3, axes: {width: [4]}}\n", "is drawn by one of"),
        ("sample: {count: 3, axes: {width: {uniform: [8, 4]}}}\n", "low below high"),
        ("sample: {count: 3, axes: {weight_decay: {loguniform: [0, 4]}}}\n", "low above 0"),
        ("sample: {count: 3, axes: {train_size: {uniform: [0.5, 4]}}}\n", "both are fractions"),
        ("sample: {count: 3, axes: {task: {uniform: [a, b]}}}\n", "task takes {choice: [...]}"),
        ("sample: {count: 9, axes: {heads: {choice: [1, 2]}}}\n", "runs repeat others"),
        ("train_size: 7.0\n", "should be a whole number, or a fraction of the table below 1"),
        ("train_size: 0\n", "at least 1"),
        ("where: \"'width > 4'\"\n", "where: names no hyperparameter"),
        ("where: width > 5000\n", "where: leaves none of 1 runs"),
        ("where: task > 3\n", "where: text stands against a number"),
        ("where: 3\n", "where: should be text"),
        ("diagram: {x: seed, y: seed}\n", "drawn twice"),
    ],
)
def test_single_problems(text, words):
    assert words in refusal_of(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("model: {heads: 3, width: 8}\n", "model.width: 3 heads do not divide width 8; choose divisors"),
        ("model: {heads: 4}\ngrid: {width: [1, 8]}\n", "grid.width.0: 4 heads do not divide width 1"),
        ("train_size: 49\n", "train_size: 49 is too many: the table of a + b with 7 symbols (modular) has 49 examples"),
        ("train_size: 43\ntask: {op: a / b, modulus: 7}\n", "has 42 examples"),
        ("train_size: 0.999\n", "49 is too many"),
        ("task: {op: a * 0.5, modulus: 7}\n", "task.op: a * 0.5: a task operation needs whole numbers"),
        ("task: {op: a / (b * 0), modulus: 7}\n", "is defined for 0 pairs"),
        ("task: {op: random, modulus: 7}\n", "write `kind: random_labels`"),
        ("task: {kind: random_labels, op: a * b, modulus: 7}\n", "random_labels has no operation"),
        ("task: {kind: toy_addition, modulus: 10}\n", "write `model: {kind: toy}`"),
        ("task: {kind: toy_addition, op: a * b, modulus: 10}\nmodel: toy\n", "toy_addition is a + b"),
        ("batch_size: 21\n", "21 is above the train_size of 20"),
        ("optimizer: {warmup_steps: 101}\n", "101 is above the 100 steps"),
        ("stop: {patience_steps: 10}\n", "patience without a rule"),
        ("stop: {val_accuracy: 0.9, patience_steps: 100}\n", "never stops"),
        ("optimizer: {momentum: 0.9}\n", "nothing reads momentum here: it belongs to optimizer sgd, this is adamw"),
        ("model: {kind: toy}\ngrid: {heads: [1, 2]}\n", "nothing reads heads here"),
        ("task: {symmetric: true, modulus: 7}\n", "nothing reads symmetric here"),
        ("grid: {train_size: [0.5, 24]}\n", "1 of 2 runs repeat others"),
        (
            "classifier: {earlier_from: 0.9, earlier_to: 0.1}\n",
            "classifier: earlier_from should be less than",
        ),
    ],
)
def test_what_keys_may_not_say_together(text, words):
    assert words in refusal_of(text)


def test_what_has_no_default_is_asked_for():
    bare = HOUSE.replace("steps: 50000\n", "").replace("  train_size: [2600, 3000, 4000, 5000]\n", "")
    bare = bare.replace("diagram: {x: width, y: train_size}\n", "").replace("name: double_descent\n", "")
    with pytest.raises(SpecError) as caught:
        load_text(bare)
    assert {problem.path for problem in caught.value.problems} == {"name", "steps", "train_size"}


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "../x", "a b", "x" * 65, "-x", "ü"])
def test_a_name_is_a_safe_folder(name):
    assert "name: should be" in refusal_of(f"name: '{name}'\n")


def test_a_product_is_counted_before_it_is_made():
    names = ["weight_decay", "learning_rate", "beta1", "beta2"]
    axes = ", ".join(f"{name}: {{linspace: [0, 0.9, 1000]}}" for name in names)
    found = refusal_of(f"grid: {{{axes}}}\n")
    assert "1,000,000,000,000 runs; a sweep may have 10,000,000. The axes multiply: 1,000 (weight_decay) x" in found


def test_many_faults_of_one_kind_are_counted_not_listed():
    found = refusal_of("model: {heads: 4}\ngrid: {width: {range: [1, 100, 1]}}\n")
    assert found.count("do not divide") == 5
    assert "(and 70 more like this)" in found


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("nowhere.yaml", EXIT_MISSING_INPUT),
        ("quickstrat", EXIT_MISSING_INPUT),
        (".", EXIT_MISSING_INPUT),
        ("a\0.yaml", 66),
    ],
)
def test_no_file(source, code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        load_spec(source)
    assert caught.value.exit_code == code


def test_no_permission(tmp_path, monkeypatch):
    path = tmp_path / "x.yaml"
    path.write_text(HOUSE)
    path.chmod(0)
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    with pytest.raises(UserError) as caught:
        load_spec(path)
    assert caught.value.exit_code == EXIT_PERMISSION


def test_a_folder_is_no_spec(tmp_path):
    with pytest.raises(UserError, match="is a folder"):
        load_spec(tmp_path)
