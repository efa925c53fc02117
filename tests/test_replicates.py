"""Statistics over seeds are over replicates, whichever seed the sweep varies to get them."""

import math

import numpy as np
import pandas as pd
import pytest
from critical_helpers import labels_of, traces_of
from label_traces import NEVER, sweep

from results.classify import label_runs
from results.critical.findings import find
from results.critical.half_width import half_width
from results.descent import DescentSettings, descents
from results.diagram import describe
from results.replicates import replicate_seeds, with_replicate_seeds


def of(**columns: list) -> list:
    return replicate_seeds(pd.DataFrame(columns)).tolist()


def renamed(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """The same sweep with another seed varied, and `seed` the same everywhere."""
    return table.assign(**{name: table["seed"], "seed": 7})


def test_replicates_differ_by_the_seed_of_the_data_where_it_varies_and_else_by_that_of_the_weights():
    assert of(seed=[0, 1]) == [0, 1]
    assert of(seed=[7, 7], data_seed=[0, 1]) == [0, 1]
    assert of(seed=[7, 7], init_seed=[0, 1]) == [0, 1]
    assert of(seed=[0, 1], data_seed=[5, 5]) == [0, 1]
    assert of(seed=[7, 7, 7, 7], data_seed=[0, 0, 1, 1], init_seed=[0, 1, 0, 1]) == [0, 0, 1, 1]
    assert of(seed=[4, 5], data_seed=[None, 3]) == [4, 3]
    assert of(data_seed=[0, 1]) == [0, 1]
    assert of(width=[8, 8]) == [0, 1]


def test_a_table_whose_seed_tells_replicates_apart_stays_as_it_is():
    table = pd.DataFrame({"seed": [0, 1]})
    assert with_replicate_seeds(table) is table


@pytest.mark.parametrize("name", ["data_seed", "init_seed"])
def test_the_neighbours_of_pass_2_may_differ_by_any_seed(name):
    runs = [
        {"train_size": size, "seed": seed, "t_train": 300, "t_val": 9000 if size > 3000 else NEVER}
        for size in (2000, 2800, 3200, 4000)
        for seed in range(8)
    ]
    traces, table = sweep(runs)
    expected = label_runs(traces, table)["phase"].tolist()
    assert expected.count("ungrokking") == 16
    assert label_runs(traces, renamed(table, name))["phase"].tolist() == expected


def test_critical_sizes_are_those_of_the_same_sweep_by_seed():
    labels = labels_of(lambda width, size, seed: 900 if size + 20 * seed > 520 else math.inf, n_seeds=5)
    (one,), (other,) = (find(each, traces_of(each)) for each in (labels, renamed(labels, "data_seed")))
    assert repr(one.sizes) == repr(other.sizes)
    assert any(np.isfinite(size.threshold.low) for size in one.sizes)


def test_descents_and_half_widths_are_those_of_the_same_sweep_by_seed():
    rng = np.random.default_rng(0)
    values = np.clip(np.linspace(0.1, 0.9, 6) + rng.normal(0, 0.05, (6, 6)), 0, 1)
    seeds, points = np.indices(values.shape)
    columns = {"seed": seeds.ravel(), "width": 2.0 ** points.ravel(), "final_val_accuracy": values.ravel()}
    labels = pd.DataFrame(columns | {"chance_accuracy": 0.0})
    settings = DescentSettings(n_resamples=199)
    one, other = (descents(each, axis="width", settings=settings) for each in (labels, renamed(labels, "data_seed")))
    pd.testing.assert_frame_equal(one, other)
    assert one["n_seeds"].tolist() == [6]
    assert half_width(labels) == half_width(renamed(labels, "data_seed"))


def test_a_diagram_counts_them():
    labels = labels_of(lambda *_: 500, n_seeds=3)
    assert "3 seeds" in describe(renamed(labels, "data_seed"), ["width", "train_size"], {})
