"""Every form in which a spec can be written, and what it means."""

import pytest
from spec_helpers import HOUSE, column, table_of

from orchestrator import shipped
from orchestrator.spec import load_spec, load_text


def axis(text, name):
    return table_of(f"grid:\n  {name}: {text}\n").axes[name]


def test_the_example_of_the_documentation():
    table = table_of(HOUSE)
    assert table.n_runs == 15 * 4 * 11
    assert table.axes["width"][-1] == 100
    assert table.axes["task"] == ["a + b"]
    assert set(table.columns) == {"width", "train_size", "seed"}
    config = table.config(0)
    assert (config.width, config.train_size, config.seed) == (4, 2600, 0)
    assert (config.beta1, config.beta2, config.weight_decay, config.heads) == (0.9, 0.98, 1.0, 4)


def test_without_axes_a_sweep_is_one_run():
    table = table_of("")
    assert table.n_runs == 1
    assert table.axes == {}
    assert table.config(0).train_size == 20


@pytest.mark.parametrize(
    ("name", "text", "values"),
    [
        ("width", "[8, 4]", [8, 4]),
        ("width", "{geomspace: [8, 128, 5]}", [8, 16, 32, 64, 128]),
        ("width", "{range: [4, 17, 4]}", [4, 8, 12, 16]),
        ("width", "{range: [16, 0, -4]}", [16, 12, 8, 4]),
        ("weight_decay", "{linspace: [0, 0.3, 4]}", [0.0, 0.1, 0.2, 0.3]),
        ("weight_decay", "{linspace: [2, 3, 1]}", [2.0]),
        ("weight_decay", "{range: [0, 0.3, 0.1]}", [0.0, 0.1, 0.2]),
        ("weight_decay", "{range: [0.1, 0.7, 0.2]}", [0.1, 0.3, 0.5]),
        ("weight_decay", "[0, 1]", [0.0, 1.0]),
        ("learning_rate", "{logspace: [-4, -2, 3]}", [1e-4, 1e-3, 1e-2]),
        ("learning_rate", "{geomspace: [1e-5, 1e-2, 4]}", [1e-5, 1e-4, 1e-3, 1e-2]),
        ("learning_rate", "{geomspace: [1, 2, 3]}", [1.0, 1.41421356237, 2.0]),
        ("biases", "[true, false]", [True, False]),
        ("optimizer", "[adamw, sgd]", ["adamw", "sgd"]),
        ("batch_size", "[5, null]", [5, None]),
        ("seed", "[3, 1]", [3, 1]),
        ("train_size", "{linspace: [10, 30, 3]}", [10, 20, 30]),
        ("train_size", "{linspace: [0.25, 0.75, 3]}", [12, 24, 37]),
        ("train_size", "[0.5, 10]", [24, 10]),
        ("task", "['a+b', (a - b)]", ["a + b", "a - b"]),
    ],
)
def test_axis_values(name, text, values):
    found = axis(text, name)
    assert found == values
    assert [type(value) for value in found] == [type(value) for value in values]


def test_every_hyperparameter_may_be_an_axis():
    texts = {
        "width": "[4, 8]", "depth": "[1, 2]", "heads": "[1, 2]", "train_size": "[8, 9]", "weight_decay": "[0, 1]",
        "learning_rate": "[1, 2]", "embedding_learning_rate": "[1, 2]", "betas": "[[0.9, 0.98], [0.8, 0.9]]",
        "task": "[a + b, a * b]", "init_scale": "[1, 2]", "batch_size": "[4, 5]", "dropout": "[0, 0.1]",
        "label_noise": "[0, 0.1]", "seed": "[0, 1]", "data_seed": "[0, 1]", "init_seed": "[0, 1]", "steps": "[8, 9]",
        "modulus": "[7, 11]", "mlp_ratio": "[2, 4]", "warmup_steps": "[0, 5]", "loss_dtype": "[float32, float64]",
        "eval_growth": "[1.1, 1.2]", "eval_gaps": "[5, 6]", "stop_val_accuracy": "[0.9, null]", "eps": "[1e-8, 1e-6]",
    }  # fmt: skip
    for name, text in texts.items():
        assert table_of(f"grid:\n  {name}: {text}\n").n_runs == 2


@pytest.mark.parametrize(("text", "task_size"), [("0.3", 15), ("0.001", 1), ("0.5", 24), ("48", 48)])
def test_a_train_size_below_one_is_a_share_of_the_table(text, task_size):
    assert table_of(f"train_size: {text}\n").fixed["train_size"] == task_size


def test_a_share_is_one_of_each_table():
    table = table_of("train_size: 0.5\ngrid: {task: [a + b, a / b], modulus: [5, 7]}\n")
    assert column(table, "train_size") == [12, 24, 10, 21]


def test_pairs_of_betas():
    table = table_of("grid: {betas: [[0.9, 0.98], [0.9, 0.999]]}\n")
    assert table.axes == {"beta1": [0.9], "beta2": [0.98, 0.999]}
    assert column(table, "beta2") == [0.98, 0.999]


def test_a_task_of_an_axis_may_change_the_block():
    text = "task: {modulus: 7}\ngrid: {task: [a * b, {modulus: 5}, {kind: random_labels, symmetric: true}]}\n"
    table = table_of(text)
    assert column(table, "task") == ["a * b", "a + b", "random"]
    assert column(table, "modulus") == [7, 5, 7]
    assert column(table, "task_kind") == ["modular", "modular", "random_labels"]
    assert column(table, "symmetric") == [False, False, True]


def test_short_forms():
    short = load_text(
        "name: x\ntask: a*b\nmodel: transformer\noptimizer: sgd\nloss: cross_entropy\nsteps: 5\ntrain_size: 9"
    )
    long = load_text(
        "name: x\ntask: {op: a * b}\nmodel: {kind: transformer}\noptimizer: {kind: sgd}\nloss: {kind: cross_entropy}\n"
        "steps: 5\ntrain_size: 9"
    )
    assert short.spec == long.spec


def test_other_blocks_reach_the_run():
    text = (
        "evaluation: {growth: 1.5, gaps: 10}\nstop: {val_accuracy: 0.9, patience_steps: 5}\nlabel_noise: 0.1\n"
        "data_seed: 3\ninit_seed: 4\nbatch_size: 8\n"
    )
    config = table_of(text).config(0)
    assert (config.eval_growth, config.eval_gaps, config.stop_val_accuracy, config.stop_patience_steps) == (
        1.5,
        10,
        0.9,
        5,
    )
    assert (config.label_noise, config.data_seed, config.init_seed, config.batch_size) == (0.1, 3, 4, 8)


def test_resources_keep_and_classifier_do_not_touch_the_run():
    plain = table_of("").run_ids()
    text = "resources: {device: cpu, lanes: 3, engine: auto}\nkeep: {weights: final}\nclassifier: {theta: 0.8}\n"
    assert table_of(text).run_ids() == plain


@pytest.mark.parametrize("name", shipped.names())
def test_shipped_specs_expand(name):
    loaded = load_spec(name)
    assert loaded.spec.name == name
    assert loaded.text.startswith("# yaml-language-server: $schema=schema.json\n# ")
    assert table_of(loaded.text).n_runs > 1


def test_the_published_sweeps_have_their_published_sizes():
    assert table_of(load_spec("double_descent").text).n_runs == 15 * 4 * 11
    liu = table_of(load_spec("liu2022_fig6b_addition_regression").text)
    assert liu.n_runs == 16 * 11 * 3
    assert liu.scales == {"learning_rate": "log", "weight_decay": "linear"}
    assert liu.axes["learning_rate"][0] == 1e-5
    assert liu.axes["learning_rate"][-1] == 1e-2
    assert liu.config(0).embedding_learning_rate == 1e-3


def test_a_path_wins_over_a_shipped_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quickstart").write_text("name: mine\nsteps: 1\ntrain_size: 5\n")
    assert load_spec("quickstart").spec.name == "mine"
