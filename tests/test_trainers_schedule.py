"""Evaluation steps: dense in log time, then at a bounded gap."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trainers_helpers import toy, train

from trainers.schedule import evaluation_steps, planned_steps


@given(st.integers(1, 200_000), st.floats(1.001, 10), st.integers(1, 2_000))
def test_from_zero_to_the_end_strictly_ascending_with_bounded_gaps(steps: int, growth: float, gaps: int) -> None:
    found = evaluation_steps(steps, growth, gaps)
    assert found[0] == 0
    assert found[-1] == steps
    differences = np.diff(found)
    assert differences.min() >= 1
    assert differences.max() <= max(1, steps // gaps)


@given(st.integers(1, 200_000), st.floats(1.001, 10), st.integers(1, 2_000))
def test_no_step_exceeds_the_growth_factor(steps: int, growth: float, gaps: int) -> None:
    found = evaluation_steps(steps, growth, gaps)
    here, after = found[:-1], found[1:]
    assert np.all((after <= here * growth) | (after == here + 1))


def test_a_small_schedule_by_hand() -> None:
    assert evaluation_steps(40, 2.0, 4).tolist() == [0, 1, 2, 4, 8, 16, 26, 36, 40]


def test_one_step() -> None:
    assert evaluation_steps(1, 1.05, 250).tolist() == [0, 1]


@pytest.mark.parametrize(("steps", "rows"), [(30_000, (300, 400)), (100_000, (300, 400)), (1_000, (250, 350))])
def test_default_density(steps: int, rows: tuple[int, int]) -> None:
    assert rows[0] <= len(evaluation_steps(steps, 1.05, 250)) <= rows[1]


def test_the_schedule_cannot_be_changed_through_what_it_returned() -> None:
    with pytest.raises(ValueError, match="read-only"):
        evaluation_steps(50, 1.05, 250)[0] = 7


def test_a_pack_works_out_the_schedule_of_each_run_once_however_many_budgets_it_has() -> None:
    n_runs = 70
    observed = {"measures": "norms", "measure_at": "every 90", "snapshots": "embedding", "snapshot_at": "every 80"}
    configs = [toy(width=4, steps=1 + seed, eval_gaps=1, seed=seed, **observed) for seed in range(n_runs)]
    evaluation_steps.cache_clear()
    planned_steps.cache_clear()
    train(configs, lanes=n_runs, segment_steps=200)
    assert evaluation_steps.cache_info().misses == n_runs
    assert planned_steps.cache_info().misses == 2 * n_runs
