"""From a spec to the table of its runs: order, filters, sampling, scales, and the columns behind them."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spec_helpers import HOUSE, column, refusal_of, table_of

from orchestrator.errors import SpecError
from orchestrator.expand import expand
from orchestrator.run_table import scale
from orchestrator.spec import load_text
from orchestrator.spec_model import SweepSpec
from trainers.expressions import ExpressionError


def rows(table, *names):
    return list(zip(*(column(table, name) for name in names), strict=True))


def test_the_first_axis_is_the_outermost_and_seeds_are_innermost():
    text = "zip: {depth: [1, 2], dropout: [0, 0.1]}\nseeds: [7, 3]\ngrid: {weight_decay: [1, 0], width: [8, 4]}\n"
    table = table_of(text)
    expected = itertools.product([1.0, 0.0], [8, 4], [(1, 0.0), (2, 0.1)], [7, 3])
    assert rows(table, "weight_decay", "width", "depth", "dropout", "seed") == [
        (decay, width, *together, seed) for decay, width, together, seed in expected
    ]
    assert list(table.axes) == ["weight_decay", "width", "depth", "dropout"]


def test_columns_and_configs_agree():
    table = table_of(HOUSE)
    for name, values in table.columns.items():
        assert values.tolist() == column(table, name)
    assert {**table.fixed}.keys() | table.columns.keys() == set(type(table.config(0)).model_fields)


def test_column_types():
    axes = "width: [4, 8], weight_decay: [0, 1], biases: [true, false], batch_size: [5, null], task: [a + b, b]"
    table = table_of(f"grid: {{{axes}}}\n")
    kinds = {name: column.dtype.kind for name, column in table.columns.items()}
    assert kinds == {"width": "i", "weight_decay": "f", "biases": "b", "batch_size": "O", "task": "O"}
    assert set(table.columns["batch_size"].tolist()) == {5, None}


def test_a_filter_leaves_the_other_runs_in_order():
    table = table_of("grid: {width: [4, 8, 12], train_size: [10, 20]}\nwhere: width * 2 <= train_size\n")
    assert rows(table, "width", "train_size") == [(4, 10), (4, 20), (8, 20)]
    assert table.axes == {"width": [4, 8], "train_size": [10, 20]}


@pytest.mark.parametrize(
    ("where", "kept"),
    [
        ("batch_size < train_size", [5]),
        ("batch_size == train_size", [None]),
        ("embedding_learning_rate == learning_rate", [5, None]),
        ("data_seed == seed and init_seed == 0", [5, None]),
        ("task == 'a + b' and optimizer in ('adamw', 'sgd')", [5, None]),
        ("not stop_val_accuracy > 0", [5, None]),
        ("train_fraction > 0.4 and batch_size > 5", [None]),
    ],
)
def test_filters_see_what_an_absent_value_means(where, kept):
    table = table_of(f"grid: {{batch_size: [5, null]}}\nwhere: {where}\n")
    assert column(table, "batch_size") == kept


def test_select_and_take():
    table = table_of(HOUSE)
    chosen = table.select("width == 32 and train_size in (3000, 4000) and seed < 2")
    assert chosen.sum() == 4
    part = table.take(chosen)
    assert part.n_runs == 4
    assert part.run_ids().tolist() == table.run_ids()[chosen].tolist()
    assert table.take(np.array([5, 2])).run_ids().tolist() == table.run_ids()[[5, 2]].tolist()
    with pytest.raises(ExpressionError):
        table.select("widht == 3")


SAMPLE = (
    "sample: {{count: 200, seed: {seed}, axes: {{learning_rate: {{loguniform: [1e-4, 1e-2]}},"
    " width: {{uniform: [4, 7]}}, train_size: {{uniform: [0.2, 0.8]}}, depth: {{choice: [1, 3]}}"
    "{more}}}}}\nmodel: {{heads: 1}}\n"
)


def test_samples_stay_in_their_ranges_and_fill_them():
    table = table_of(SAMPLE.format(seed=0, more=""))
    rates = np.array(column(table, "learning_rate"))
    assert table.n_runs == 200
    assert 1e-4 <= rates.min() < 2e-4
    assert 5e-3 < rates.max() <= 1e-2
    assert 0.35 < np.mean(rates < 1e-3) < 0.65
    assert set(column(table, "width")) == {4, 5, 6, 7}
    assert set(column(table, "depth")) == {1, 3}
    assert min(column(table, "train_size")) < 13
    assert max(column(table, "train_size")) > 36
    assert table.scales == {"learning_rate": "log", "width": "linear", "train_size": "linear", "depth": "linear"}


def test_samples_are_reproducible_and_an_axis_does_not_move_the_others():
    once, again = (table_of(SAMPLE.format(seed=1, more="")) for _ in range(2))
    assert once.run_ids().tolist() == again.run_ids().tolist()
    more = table_of(SAMPLE.format(seed=1, more=", weight_decay: {uniform: [0, 1]}"))
    assert column(more, "learning_rate") == column(once, "learning_rate")
    other = table_of(SAMPLE.format(seed=2, more=""))
    assert column(other, "learning_rate") != column(once, "learning_rate")


def test_a_sample_that_was_published_stays():
    """Changing these draws would change the runs of every sampled sweep."""
    axes = "{learning_rate: {loguniform: [1e-4, 1e-2]}, width: {uniform: [8, 90]}}"
    table = table_of(f"sample: {{count: 3, seed: 5, axes: {axes}}}\nmodel: {{heads: 1}}\n")
    assert rows(table, "learning_rate", "width") == GOLDEN_SAMPLE


GOLDEN_SAMPLE = [(0.00314808108341, 10), (0.000190805366801, 76), (0.00835155130046, 50)]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([4, 8, 12, 100], "linear"),
        ([1, 2, 4, 8], "log"),
        ([1e-4, 1e-3, 1e-2], "log"),
        ([1e-4, 1e-2], "log"),
        ([3e-4, 1e-3, 3e-3, 1e-2], "log"),
        ([0.001, 0.003, 0.01], "log"),
        ([8, 12, 16, 24, 32, 48, 64], "linear"),
        ([1, 2, 3], "linear"),
        ([0.0, 1.0, 2.0], "linear"),
        ([0, 0.001, 0.01, 1.0], "category"),
        (list(range(200)), "linear"),
        ([5], "linear"),
        (["a + b"], "category"),
        ([True, False], "category"),
        ([5, None], "category"),
    ],
)
def test_scales(values, expected):
    assert scale(values) == expected


def test_expand_refuses_a_bad_spec_made_in_python():
    with pytest.raises(SpecError, match="do not divide"):
        expand(SweepSpec(name="x", steps=5, train_size=5, grid={"width": (3,)}))
    with pytest.raises(SpecError, match="is missing"):
        expand(SweepSpec(name="x", steps=5))


def test_a_repeated_run_is_named():
    found = refusal_of("zip: {weight_decay: [0, 1, 0], width: [4, 8, 4]}\n")
    assert "zip: 1 of 3 runs repeat others, e.g. weight_decay=0.0, width=4" in found


def test_a_million_runs_are_a_table():
    table = table_of(
        "grid: {width: {range: [4, 404, 4]}, learning_rate: {geomspace: [1e-4, 1e-2, 20]},"
        " weight_decay: {linspace: [0, 1, 10]}, train_size: {linspace: [0.2, 0.6, 5]}}\nseeds: 10\n"
    )
    assert table.n_runs == 1_000_000
    assert table.take(np.arange(999_990, 1_000_000)).run_ids().tolist() == [
        table.config(row).run_id for row in range(999_990, 1_000_000)
    ]


AXES = {
    "width": [4, 8, 16],
    "train_size": [5, 0.3, 0.5, 18],
    "weight_decay": [0.0, 0.3, 1.0, 1e-5],
    "learning_rate": [1e-3, 1e-2, 1 / 3],
    "batch_size": [5, None, 3],
    "embedding_learning_rate": [None, 0.1],
    "betas": [[0.9, 0.999], [0.9, 0.98], [0.5, 0.5]],
    "task": ["a + b", "a*b", {"kind": "random_labels"}, {"modulus": 11}],
    "biases": [True, False],
    "loss_dtype": ["float32", "float64"],
    "stop_val_accuracy": [None, 0.9],
    "dropout": [0.0, 0.1],
    "depth": [1, 2],
}


@st.composite
def specs(draw):
    names = draw(st.lists(st.sampled_from(sorted(AXES)), unique=True, max_size=5))
    axes = {n: draw(st.lists(st.sampled_from(AXES[n]), min_size=1, max_size=3, unique_by=str)) for n in names}
    seeds = draw(st.integers(1, 3))
    return {"name": "x", "task": {"modulus": 7}, "steps": 10, "train_size": 20, "grid": axes, "seeds": seeds}


@settings(deadline=None, max_examples=50)
@given(specs())
def test_run_ids_of_a_table_are_those_of_its_configs(spec):
    table = expand(load_text(json.dumps(spec)).spec)
    assert table.run_ids().tolist() == [config.run_id for config in table.configs(range(table.n_runs))]
