"""The algorithmic tasks of the papers: Power et al.'s twelve operations, permutations, subsets of a table, outliers."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from spec_helpers import column, refusal_of, table_of
from trainers_helpers import final_vector, toy, trace, train, transformer

from trainers import tasks
from trainers.config import RunConfig
from trainers.expressions import ExpressionError
from trainers.tasks import permutations, shapes


def _config(**changes: object) -> RunConfig:
    return RunConfig.model_validate({"modulus": 97, "train_size": 20, "steps": 1} | changes)


# Power et al. 2022, appendix A.1: nine operations mod 97, three in S5

MODULAR: dict[str, tuple[Callable[[int, int], int], int, float]] = {
    "a + b": (lambda a, b: (a + b) % 97, 9409, 1 / 97),
    "a - b": (lambda a, b: (a - b) % 97, 9409, 1 / 97),
    "a / b": (lambda a, b: a * pow(b, 95, 97) % 97, 9312, 1 / 97),
    "a / b if b % 2 else a - b": (lambda a, b: (a * pow(b, 95, 97) if b % 2 else a - b) % 97, 9409, 1 / 97),
    "a ** 2 + b ** 2": (lambda a, b: (a * a + b * b) % 97, 9409, 193 / 9409),
    "a ** 2 + a * b + b ** 2": (lambda a, b: (a * a + a * b + b * b) % 97, 9409, 193 / 9409),
    "a ** 2 + a * b + b ** 2 + a": (lambda a, b: (a * a + a * b + b * b + a) % 97, 9409, 193 / 9409),
    "a ** 3 + a * b": (lambda a, b: (a**3 + a * b) % 97, 9409, 193 / 9409),
    "a ** 3 + a * b ** 2 + b": (lambda a, b: (a**3 + a * b * b + b) % 97, 9409, None),
}


@pytest.mark.parametrize("task", MODULAR)
def test_the_modular_operations_of_power_et_al(task: str) -> None:
    operation, size, chance = MODULAR[task]
    data = tasks.build(_config(task=task))
    defined = data.labels_N >= 0
    expected = [operation(a, b) for a, b in itertools.product(range(97), repeat=2)]
    assert np.array_equal(data.labels_N[defined], np.asarray(expected)[defined])
    assert defined.sum() == tasks.table_size(_config(task=task)) == size
    if chance is None:  # no closed form: the commonest of the values themselves
        chance = max(expected.count(value) for value in range(97)) / 9409
    assert data.chance_accuracy == pytest.approx(chance, abs=1e-12)


def _composed(*elements: tuple[int, ...]) -> tuple[int, ...]:
    """The last first."""
    found = tuple(range(len(elements[0])))
    for element in reversed(elements):
        found = tuple(element[x] for x in found)
    return found


def _inverse(element: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted(range(len(element)), key=lambda x: element[x]))


GROUP = {
    "a * b": lambda a, b: _composed(a, b),
    "a * b * a ** -1": lambda a, b: _composed(a, b, _inverse(a)),
    "a * b * a": lambda a, b: _composed(a, b, a),
    "a / b": lambda a, b: _composed(a, _inverse(b)),
    "a ** 3 * b ** 0": lambda a, b: _composed(a, a, a),
}


@pytest.mark.parametrize("symbols", [3, 4])
@pytest.mark.parametrize("task", GROUP)
def test_permutations_against_composing_them(task: str, symbols: int) -> None:
    elements = list(itertools.permutations(range(symbols)))
    config = _config(task_kind="permutations", task=task, symbols=symbols)
    data = tasks.build(config)
    pairs = itertools.product(elements, repeat=2)
    assert data.labels_N.tolist() == [elements.index(GROUP[task](a, b)) for a, b in pairs]
    assert len(data.labels_N) == tasks.table_size(config) == len(elements) ** 2
    assert data.n_classes == shapes.n_outputs(config) == shapes.n_symbols(config) == len(elements)


@pytest.mark.parametrize("task", list(GROUP)[:3])
def test_the_operations_of_power_et_al_in_s5_are_uniform(task: str) -> None:
    data = tasks.build(_config(task_kind="permutations", task=task))
    assert len(data.labels_N) == 14400
    assert data.chance_accuracy == 1 / 120


def test_s3_is_no_abelian_group_and_its_identity_is_number_0() -> None:
    product = permutations.group(3).product
    assert (product != product.T).any()
    assert np.array_equal(product[0], np.arange(6))
    assert np.array_equal(product[np.arange(6), permutations.group(3).inverse], np.zeros(6))


@pytest.mark.parametrize("task", ["a + b", "a * 2", "a ** b", "a if b else a", "-a"])
def test_what_a_group_has_not_is_refused(task: str) -> None:
    with pytest.raises(ExpressionError, match="group"):
        permutations.labels(task, 3)
    assert "group" in refusal_of(f"task: {{kind: permutations, symbols: 3, op: {task}}}\n")


def test_permutations_in_a_spec() -> None:
    table = table_of("task: {kind: permutations, symbols: 3, op: a * b * a**-1}\ntrain_size: 24\n")
    assert column(table, "task") == ["a * b * a ** (-1)"]
    said = refusal_of("task: {kind: permutations, symbols: 3, op: a * b}\ntrain_size: 36\n")
    assert "the table of a * b with the permutations of 3 has 36 examples" in said
    assert "nothing reads symbols" in refusal_of("task: {op: a + b, modulus: 7, symbols: 4}\n")
    assert "nothing reads modulus" in refusal_of("task: {kind: permutations, symbols: 4, op: a * b, modulus: 7}\n")


# Subsets of a table

DAVIES = "{op: a / b, modulus: 97, subsets: {zero: a == 0, one: b == 1, same: a == b}}"


def test_the_subsets_of_davies_et_al() -> None:
    config = table_of(f"task: {DAVIES}\ntrain_size: 0.5\n").config(0)
    assert config.subsets == "zero: a == 0; one: b == 1; same: a == b"
    assert tasks.subset_names(config) == ("zero", "one", "same", "rest")
    data = tasks.build(config)
    assert tuple(data.subsets) == tasks.subset_names(config)
    defined = data.labels_N >= 0
    assert {name: int((mask & defined).sum()) for name, mask in data.subsets.items()} == {
        "zero": 96, "one": 97, "same": 96, "rest": 9312 - 96 - 97 - 96 + 1 + 1,
    }  # fmt: skip
    a, b = data.inputs_NT.T
    assert np.array_equal(data.subsets["same"], a == b)
    assert (data.labels_N[data.subsets["zero"] & defined] == 0).all()
    assert np.array_equal(data.labels_N[data.subsets["one"]], a[data.subsets["one"]])


def test_subsets_are_a_value_of_an_axis_and_enter_the_identity() -> None:
    table = table_of(f"grid: {{task: [{DAVIES}, {{op: a / b, modulus: 97}}]}}\n")
    assert column(table, "subsets") == ["zero: a == 0; one: b == 1; same: a == b", ""]
    assert len(set(table.run_ids())) == 2


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("{zero: a == c}", "zero: unknown name 'c'"),
        ("{rest: a == 0}", "'rest' has a meaning already"),
        ("{Zero: a == 0}", "cannot be a column's name"),
        ("{zero: 0}", "should map names to filters"),
        ("[a == 0]", "should map names to filters"),
        ("zero", "should be NAME: FILTER"),
    ],
)
def test_what_is_wrong_with_subsets_is_said(written: str, said: str) -> None:
    assert said in refusal_of(f"task: {{op: a + b, modulus: 7, subsets: {written}}}\n")


# Labels that are wrong, or random


def test_random_labels_may_be_as_frequent_as_the_results_of_an_operation() -> None:
    fields = {"task_kind": "random_labels", "task": "random", "modulus": 113, "marginal_of": "(a + b) ** 2"}
    data, uniform = tasks.build(_config(**fields)), tasks.build(_config(**(fields | {"marginal_of": None})))
    squares = {x * x % 113 for x in range(113)}
    assert set(data.labels_N) == squares
    assert len(set(uniform.labels_N)) == 113
    zeros = (data.labels_N == 0).sum()  # half as frequent as the other squares: 113 of 12,769
    assert abs(zeros - 113) < 5 * 113**0.5
    assert abs((data.labels_N == 1).sum() - 226) < 5 * 226**0.5
    grid = tasks.build(_config(**fields, symmetric=True)).labels_N.reshape(113, 113)
    assert np.array_equal(grid, grid.T)
    assert set(grid.ravel()) == squares


def test_marginals_in_a_spec() -> None:
    table = table_of("task: {kind: random_labels, modulus: 7, marginal_of: (a+b)**2}\n")
    assert column(table, "marginal_of") == ["(a + b) ** 2"]
    assert "unknown name 'c'" in refusal_of("task: {kind: random_labels, modulus: 7, marginal_of: a + c}\n")
    assert "nothing reads marginal_of" in refusal_of("task: {op: a + b, modulus: 7, marginal_of: a + b}\n")
    assert "has no result" in refusal_of("task: {kind: random_labels, modulus: 7, marginal_of: a / 0}\n")


def test_outliers_are_exactly_so_many_and_nest() -> None:
    clean, few, many = (tasks.build(_config(train_size=3000, outliers=count)) for count in (0, 100, 1000))
    assert few.subsets["outliers"].sum() == 100
    assert many.subsets["outliers"].sum() == 1000
    assert (few.subsets["outliers"] <= many.subsets["outliers"]).all()
    assert np.array_equal(many.subsets["clean"], ~many.subsets["outliers"])
    assert not many.subsets["outliers"][many.val_V].any()
    wrong = clean.labels_N != many.labels_N
    assert (wrong <= many.subsets["outliers"]).all()
    assert 970 < wrong.sum() <= 1000  # a label drawn anew is the old one once in 97
    assert np.array_equal(few.labels_N[few.subsets["outliers"]], many.labels_N[few.subsets["outliers"]])
    larger = tasks.build(_config(train_size=5000, outliers=100))
    assert np.array_equal(larger.labels_N, few.labels_N)
    assert tasks.subset_names(_config(outliers=100)) == ("outliers", "clean")
    assert tasks.subset_names(_config()) == ()


def test_what_label_noise_changed_is_a_subset_too() -> None:
    noisy = tasks.build(_config(train_size=3000, label_noise=0.3))
    assert tasks.subset_names(_config(label_noise=0.3)) == tuple(noisy.subsets) == ("noisy", "clean")
    assert ((noisy.labels_N != tasks.build(_config()).labels_N) <= noisy.subsets["noisy"]).all()


def test_too_many_outliers_are_refused() -> None:
    assert "21 are more than the training set has: 20" in refusal_of("outliers: 21\n")
    assert "not both" in refusal_of("outliers: 2\nlabel_noise: 0.1\n")
    sizes = "train_size: [{step: 0, size: all}, {step: 50, size: 9}]\n"
    assert "10 are more" in refusal_of(f"outliers: 10\n{sizes}")


# In training

S3 = {"task_kind": "permutations", "task": "a * b", "symbols": 3, "train_size": 24}
PACKS = {
    "permutations": [transformer(**S3, seed=seed, weight_decay=seed) for seed in range(3)],
    "permutations as regression": [toy(**S3, seed=seed, learning_rate=1e-2 / (1 + seed)) for seed in range(3)],
    "outliers": [transformer(outliers=count, seed=1) for count in (0, 3, 9)],
    "marginal": [
        transformer(task_kind="random_labels", task="random", marginal_of=of) for of in (None, "a ** 2", "a * b")
    ],
    "subsets": [transformer(task=task, subsets="zero: a == 0") for task in ("a + b", "a - b", "a * b")],
}


@pytest.mark.parametrize("name", PACKS)
def test_a_run_in_a_pack_equals_the_run_alone(name: str) -> None:
    pack = train(PACKS[name], lanes=3)
    for run, config in enumerate(PACKS[name]):
        alone = train([config], lanes=1)
        np.testing.assert_allclose(trace(pack, run), trace(alone, 0), rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(final_vector(pack, run), final_vector(alone, 0), rtol=1e-5, atol=1e-5)
    finals = [final_vector(pack, run) for run in range(3)]
    assert all(not np.allclose(finals[0], final, atol=1e-3) for final in finals[1:]), "the runs do differ"
