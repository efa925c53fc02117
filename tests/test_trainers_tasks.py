"""Tables, splits, label noise and chance."""

import itertools
from types import SimpleNamespace
from typing import cast, get_args

import numpy as np
import pytest

from orchestrator.run_table import n_examples
from trainers import tasks
from trainers.config import RunConfig
from trainers.models import layout


def _config(**changes: object) -> RunConfig:
    return RunConfig.model_validate({"modulus": 7, "train_size": 20, "steps": 1} | changes)


def _toy(**changes: object) -> RunConfig:
    fields = {"task_kind": "toy_addition", "model": "toy", "modulus": 10, "train_size": 45, "loss": "mse"}
    return _config(**(fields | changes))


def _quotient(a: int, b: int, p: int) -> int | None:
    """a / b by trying every answer; None where there is not exactly one."""
    found = [x for x in range(p) if x * b % p == a]
    return found[0] if len(found) == 1 else None


OPERATIONS = {
    "a + b": lambda a, b, p: (a + b) % p,
    "a - b": lambda a, b, p: (a - b) % p,
    "a * b": lambda a, b, p: a * b % p,
    "a ** 2 + a * b + b ** 2": lambda a, b, p: (a * a + a * b + b * b) % p,
    "a ** 3 + a * b": lambda a, b, p: (a**3 + a * b) % p,
    "a / b": _quotient,
    "a / b if b % 2 else a - b": lambda a, b, p: _quotient(a, b, p) if b % 2 else (a - b) % p,
}


@pytest.mark.parametrize("p", [2, 7, 13])
@pytest.mark.parametrize("task", OPERATIONS)
def test_modular_labels_against_brute_force(task: str, p: int) -> None:
    config = _config(task=task, modulus=p, train_size=1)
    data = tasks.build(config)
    expected = [OPERATIONS[task](a, b, p) for a, b in itertools.product(range(p), repeat=2)]
    assert data.inputs_NT.tolist() == [list(pair) for pair in itertools.product(range(p), repeat=2)]
    assert data.labels_N.tolist() == [-1 if label is None else label for label in expected]
    n_defined = sum(label is not None for label in expected)
    assert len(data.train_D) + len(data.val_V) == tasks.table_size(config) == n_defined


@pytest.mark.parametrize("changes", [{}, {"task": "a / b"}, {"task_kind": "random_labels", "task": "random"}])
def test_training_and_validation_share_the_defined_table(changes: dict[str, str]) -> None:
    data = tasks.build(_config(**changes))
    assert sorted([*data.train_D, *data.val_V]) == np.flatnonzero(data.labels_N >= 0).tolist()
    assert len(data.train_D) == 20


def test_a_smaller_training_set_is_a_prefix_of_a_larger_one() -> None:
    large = tasks.build(_config(train_size=40))
    small = tasks.build(_config(train_size=13))
    assert np.array_equal(small.train_D, large.train_D[:13])


@pytest.mark.parametrize("symmetric", [False, True])
def test_random_labels(symmetric: bool) -> None:
    config = _config(task_kind="random_labels", task="random", modulus=31, symmetric=symmetric)
    data = tasks.build(config)
    grid = data.labels_N.reshape(31, 31)
    assert np.array_equal(grid, grid.T) is symmetric
    assert set(grid.ravel()) == set(range(31))
    assert np.bincount(grid[np.tril_indices(31)]).max() < 40  # 496 cells, 16 of each label in the mean
    assert tasks.table_size(config) == len(data.train_D) + len(data.val_V) == 961


@pytest.mark.parametrize("kind", get_args(RunConfig.model_fields["task_kind"].annotation))
def test_the_size_of_a_table_hangs_on_table_fields_alone(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks.images, "pool_size", lambda folder: 60_000)
    monkeypatch.setattr(tasks.own_data, "pool_size", lambda source: 100)
    members = "product: a * b; memory: random" if kind == "mixture" else ""
    given = {"task_kind": kind, "task": "a * b", "members": members, "file": "x.npz", "n_examples": 7}
    config = _config(**given)
    known = SimpleNamespace(**{name: getattr(config, name) for name in tasks.TABLE_FIELDS})
    assert tasks.table_size(cast(RunConfig, known)) == n_examples({**given, "modulus": 7}) > 0


def test_toy_table_is_of_unordered_pairs() -> None:
    data = tasks.build(_toy())
    assert data.inputs_NT.tolist() == [[i, j] for i in range(10) for j in range(i, 10)]
    assert data.labels_N.tolist() == [i + j for i in range(10) for j in range(i, 10)]
    assert len(data.train_D) + len(data.val_V) == tasks.table_size(_toy()) == 55
    assert data.n_classes == 19


def test_target_vectors_are_standard_normal_and_fixed_by_the_data_seed() -> None:
    vectors = tasks.build(_toy(target_dim=400, data_seed=3)).target_vectors_CK
    assert vectors is not None
    assert vectors.shape == (19, 400)
    assert abs(vectors.mean()) < 0.05
    assert vectors.std() == pytest.approx(1, abs=0.05)
    assert np.array_equal(vectors, tasks.build(_toy(target_dim=400, data_seed=3, seed=9)).target_vectors_CK)
    assert tasks.build(_toy(loss="cross_entropy")).target_vectors_CK is None


def test_chance_is_the_commonest_label_where_labels_are_not_uniform() -> None:
    assert tasks.build(_toy()).chance_accuracy == 5 / 55
    assert tasks.build(_config(modulus=113)).chance_accuracy == 1 / 113
    squares = tasks.build(_config(task="(a + b) ** 2", modulus=113))
    assert len(set(squares.labels_N)) == 57
    assert squares.chance_accuracy == 2 / 113
    products = tasks.build(_config(task="a * b", modulus=7))
    assert products.chance_accuracy == 13 / 49  # 0 has 2p - 1 pairs


def test_chance_is_of_the_table_and_not_of_the_noise() -> None:
    assert tasks.build(_toy(label_noise=0.9)).chance_accuracy == 5 / 55


def test_label_noise_has_its_share_and_spares_validation() -> None:
    clean = tasks.build(_config(modulus=97, train_size=6000))
    noisy = tasks.build(_config(modulus=97, train_size=6000, label_noise=0.3))
    assert np.array_equal(clean.train_D, noisy.train_D)
    changed = clean.labels_N != noisy.labels_N
    assert not changed[noisy.val_V].any()
    share = 0.3 * 96 / 97  # a label drawn anew is the old one once in 97
    assert abs(changed[noisy.train_D].mean() - share) < 5 * (share * (1 - share) / 6000) ** 0.5
    drawn = np.bincount(noisy.labels_N[changed], minlength=97)
    assert drawn.min() > 0


def test_label_noise_nests_with_the_training_set_and_leaves_the_clean_table_alone() -> None:
    large, small = (tasks.build(_config(train_size=size, label_noise=0.5)) for size in (40, 13))
    assert np.array_equal(large.labels_N[small.train_D], small.labels_N[small.train_D])
    assert tasks.build(_config()).labels_N.tolist() == [(a + b) % 7 for a in range(7) for b in range(7)]


def test_the_data_seed_parts_data_from_weights() -> None:
    base = _config(seed=1, task_kind="random_labels", task="random", label_noise=0.2)
    other_data = base.model_copy(update={"data_seed": 2})
    other_init = base.model_copy(update={"init_seed": 2})
    assert not np.array_equal(tasks.build(base).train_D, tasks.build(other_data).train_D)
    assert not np.array_equal(tasks.build(base).labels_N, tasks.build(other_data).labels_N)
    assert np.array_equal(layout.initial_vector(base), layout.initial_vector(other_data))
    assert np.array_equal(tasks.build(base).train_D, tasks.build(other_init).train_D)
    assert np.array_equal(tasks.build(base).labels_N, tasks.build(other_init).labels_N)
    assert not np.array_equal(layout.initial_vector(base), layout.initial_vector(other_init))


def test_absent_seeds_are_the_seed() -> None:
    base = _config(seed=5)
    stated = _config(seed=5, data_seed=5, init_seed=5)
    assert np.array_equal(tasks.build(base).train_D, tasks.build(stated).train_D)
    assert np.array_equal(layout.initial_vector(base), layout.initial_vector(stated))
