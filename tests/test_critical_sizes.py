"""Critical sizes and memory: never beyond what was trained, at each budget, under one training only."""

import math

import numpy as np
import pandas as pd
import pytest
from critical_helpers import BUDGET, SIZES, labels_of, random_labels_of

from results.critical.memory import (
    RandomLabels,
    count_right,
    differences,
    facts_of,
    final_values,
    memory_sizes,
    size_of,
)
from results.critical.outcomes import OUTCOMES, read_outcome
from results.critical.sizes import critical_sizes, find_threshold, threshold_of


def sharp(at: float, when: float = 1000.0):
    """Generalizes from `at` examples on."""
    return lambda width, size, seed: when if size > at else math.inf


def threshold(shares: list[float], n_seeds: int = 8, share: float = 0.5):
    yes = np.concatenate([np.arange(n_seeds) < round(part * n_seeds) for part in shares])
    sizes = np.repeat(np.array(SIZES, float), n_seeds)
    return find_threshold(sizes, yes, np.tile(np.arange(n_seeds), len(SIZES)), share=share)


def test_a_threshold_between_sizes_has_intervals_and_a_bracket() -> None:
    found = threshold([0, 0, 1, 1, 1])
    assert found.relation == "="
    assert 400 < found.value < 500
    assert 300 < found.low < found.value < found.high < 600
    assert (found.bracket_low, found.bracket_high) == (400, 500)
    assert (found.exact_low, found.exact_high) == (pytest.approx(400), pytest.approx(500))
    assert (found.n_runs, found.n_seeds, found.n_sizes) == (40, 8, 5)


@pytest.mark.parametrize(
    ("shares", "relation", "floor", "ceiling"),
    [
        ([0, 0, 0, 0, 0.25], ">", 700, math.inf),
        ([0.5, 1, 1, 1, 1], "<", 0, 300),
        ([1, 1, 0, 0, 0], "none", math.nan, math.nan),
    ],
)
def test_a_threshold_outside_is_never_extrapolated(
    shares: list[float], relation: str, floor: float, ceiling: float
) -> None:
    found = threshold(shares)
    assert found.relation == relation
    assert all(math.isnan(value) for value in (found.value, found.low, found.high))
    assert (found.floor, found.ceiling) == (pytest.approx(floor, nan_ok=True), pytest.approx(ceiling, nan_ok=True))


def test_an_estimate_on_the_rim_is_a_bound() -> None:
    found = threshold([0, 0, 0, 0, 0.5])
    assert (found.relation, found.value) == ("=", pytest.approx(700))
    assert math.isnan(found.high)
    assert not found.is_inside
    assert (found.floor, found.ceiling) == (pytest.approx(700), math.inf)


def test_d05_d50_and_d95_are_in_order() -> None:
    found = [threshold([0, 0.25, 0.5, 0.875, 1], share=share).value for share in (0.05, 0.5, 0.95)]
    assert found == sorted(found)
    assert found[0] < 450 < found[2]


def test_each_size_has_a_value_at_each_budget_and_moves_with_it() -> None:
    """Half of the seeds of size 500 generalize late: at half of the budget only 600 will do."""
    late = labels_of(lambda width, size, seed: 1000 if size > 550 else 6000 if size > 450 else math.inf)
    found = {(s.axis_value, s.share, s.budget_share): s for s in critical_sizes(late, axis="width")}
    assert len(found) == 4 * 3 * 3
    assert [found[8, 0.5, share].budget_steps for share in (0.25, 0.5, 1)] == [2000, 4000, 8000]
    assert found[8, 0.5, 0.5].threshold.value > 500 > found[8, 0.5, 1].threshold.value
    assert found[8, 0.5, 1].verdict == "apparent"
    early = critical_sizes(labels_of(sharp(450)), axis="width")
    assert {s.verdict for s in early if s.budget_share == 1} == {"stable"}
    none = critical_sizes(labels_of(sharp(900)), axis="width")
    assert {s.verdict for s in none if s.budget_share == 1} == {"open"}


def test_any_axis_and_any_outcome() -> None:
    labels = labels_of(sharp(450)).rename(columns={"width": "depth"})
    by_depth = critical_sizes(labels, axis="depth", outcome="grokking")
    assert {s.axis_value for s in by_depth} == {4, 8, 16, 32}
    assert {s.budget_share for s in by_depth} == {1.0}
    memorized = threshold_of(labels[labels["depth"] == 4], "memorization", 0.5)
    assert memorized.relation == "none"  # its share falls with size


def test_outcomes_by_a_share_of_the_budget() -> None:
    labels = labels_of(lambda width, size, seed: {0: 1000, 1: 4000, 2: 4001, 3: math.inf}[seed], n_seeds=4)[:4]
    assert [list(read_outcome(labels, "generalized", share)[0]) for share in (0.25, 0.5, 1)] == [
        [True, False, False, False],
        [True, True, False, False],
        [True, True, True, False],
    ]
    stopped = labels.assign(warning=["", "", "", "stopped_early"])
    assert list(read_outcome(stopped, "generalized", 1)[1]) == [True, True, True, False]
    diverged = labels.assign(phase=["grokking", "diverged", "grokking", "diverged"])
    assert list(read_outcome(diverged, "generalized", 0.5)[1]) == [True, True, True, False]
    with pytest.raises(ValueError, match="full budget only"):
        read_outcome(labels, "grokking", 0.5)
    with pytest.raises(ValueError, match="no outcome is called 'grok'"):
        read_outcome(labels, "grok", 1)
    assert "undecided" not in OUTCOMES


# Memory


def test_facts_are_those_of_the_design_and_invert() -> None:
    assert facts_of(3000, 113) == pytest.approx(2647.6, abs=1)
    assert size_of(facts_of(3000, 113), 113) == pytest.approx(3000)
    rng = np.random.default_rng(0)
    pairs = [np.divmod(rng.permutation(113**2)[:3000], 113) for _ in range(20)]
    counted = [len({(min(a, b), max(a, b)) for a, b in zip(*pair, strict=True)}) for pair in pairs]
    assert facts_of(3000, 113) == pytest.approx(np.mean(counted), rel=0.005)
    assert math.isnan(size_of(113**2, 113))


def test_memory_is_the_largest_set_still_fitted() -> None:
    random = random_labels_of(lambda width, size, seed: 1.0 if size < 60 * width**0.7 else 0.9)
    found = {m.axis_value: m for m in memory_sizes(random, "width") if m.budget_share == 1}
    assert found[4].threshold.relation == "<"
    assert (found[16].threshold.bracket_low, found[16].threshold.bracket_high) == (400, 500)
    assert 400 < found[16].threshold.value < 500
    assert found[16].facts == pytest.approx(facts_of(found[16].threshold.value, 31))
    assert found[16].verdict == "stable"
    assert found[32].threshold.value > found[16].threshold.value


def test_a_set_is_fitted_from_99_percent() -> None:
    random = random_labels_of(lambda width, size, seed: 0.99 if size < 450 else 0.989)
    found = memory_sizes(random, "width")[0].threshold
    assert (found.bracket_low, found.bracket_high) == (400, 500)


def test_memory_at_shorter_budgets_comes_from_the_traces() -> None:
    labels = random_labels_of(lambda *_: 1.0, widths=(8,)).labels
    step = np.arange(0, BUDGET + 1, 100)
    rows = []
    for run_id, size in zip(labels["run_id"], labels["train_size"], strict=True):
        accuracy = np.where(step > 10 * size, 1.0, 0.5)  # 500 are fitted by step 5,000
        rows.append(pd.DataFrame({"run_id": run_id, "step": step, "train_accuracy": accuracy}))
    random = RandomLabels.read(labels, pd.concat(rows))
    found = {m.budget_share: m.threshold for m in memory_sizes(random, "width")}
    assert (found[0.25].relation, found[1.0].relation) == ("<", ">")
    assert (found[0.5].bracket_low, found[0.5].bracket_high) == (300, 400)


def test_huangs_count_comes_on_the_axis_by_way_of_facts() -> None:
    """961 pairs, 496 facts. A network that holds half of the pairs holds as many facts as 281 examples."""
    sizes = (300, 600, 960)
    random = random_labels_of(lambda width, size, seed: 0.5 if width < 20 else 1.0, sizes=sizes)
    random.labels["final_val_accuracy"] = 0.0
    small, *_, large = count_right(random, "width")
    assert small.right == pytest.approx(480)
    assert small.facts == pytest.approx(480 * 32 / 62)
    assert facts_of(small.size, 31) == pytest.approx(small.facts)
    assert small.low == pytest.approx(small.high)
    assert math.isnan(large.size)  # all of the table
    random.labels["symmetric"] = False
    assert count_right(random, "width") == []


def test_final_values_are_medians_of_the_last_tenth_up_to_a_budget() -> None:
    step = np.arange(0, 1001, 10)
    traces = pd.DataFrame({"run_id": "a", "step": step, "x": step.astype(float)})
    assert final_values(traces, "x", {"a": 1000}, 0.1) == {"a": 955.0}
    assert final_values(traces, "x", {"a": 500}, 0.1) == {"a": 480.0}
    assert final_values(traces.assign(x=np.inf), "x", {"a": 1000}, 0.1) == {"a": pytest.approx(math.nan, nan_ok=True)}
    coarse = traces[traces["step"] % 250 == 0]
    assert final_values(coarse, "x", {"a": 1000}, 0.1) == {"a": 750.0}  # three rows at least


def test_what_was_trained_otherwise_is_named() -> None:
    one = labels_of(sharp(450), weight_decay=1.0, heads=4, optimizer="adamw")
    assert differences(one, one.assign(train_size=100, seed=9, task_kind="random_labels"), "width") == []
    assert differences(one, one.assign(weight_decay=0.1, steps=100), "width") == [
        "steps: 8000 and 100",
        "weight_decay: 1 and 0.1",
    ]
    assert differences(one, one.assign(weight_decay=0.1), "width", frozenset({"weight_decay"})) == []
    heads = np.where(one["width"] < 10, 2, 4)
    assert differences(one.assign(heads=heads), one[one["width"] > 10], "width") == []
    assert differences(one.assign(heads=heads), one[one["width"] < 10], "width") == ["heads: 2 and 4"]
    batches = one.assign(batch_size=one["train_size"]), one.assign(batch_size=np.nan)
    assert differences(*batches, "width") == []
