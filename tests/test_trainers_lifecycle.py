"""How a run enters a lane, leaves it, and what is handed out meanwhile."""

from typing import Any

import numpy as np
import pytest
from trainers_helpers import end_of, final_vector, settings, toy, trace, train, transformer

from trainers.config import RunConfig
from trainers.loop import train_pack
from trainers.models import layout
from trainers.schedule import evaluation_steps
from trainers.trace import Progress


def easy(**changes: Any) -> RunConfig:
    """Every label is 0: validation accuracy is 1 within 20 steps and stays there."""
    fields = {"task": "a - a", "steps": 100, "eval_gaps": 20}
    return transformer(**(fields | changes))


def _schedule(config: RunConfig) -> list[int]:
    return evaluation_steps(config.steps, config.eval_growth, config.eval_gaps).tolist()


def test_budgets_of_their_own_that_segments_do_not_divide() -> None:
    configs = [toy(seed=seed, steps=steps) for seed, steps in enumerate((1, 33, 7, 20, 40))]
    blocks = train(configs, lanes=2, segment_steps=9)
    for run, config in enumerate(configs):
        assert trace(blocks, run)[:, 0].tolist() == _schedule(config)
        end = end_of(blocks, run)
        assert (end.outcome, end.stopped_at) == ("ended", None)
        assert end.n_parameters == layout.parameter_count(config) == len(final_vector(blocks, run))
        assert end.wall_s > 0
    assert blocks[-1].run_steps == sum(config.steps for config in configs)
    assert [block.segment for block in blocks] == list(range(len(blocks)))
    assert [block.checkpoint is None for block in blocks] == [False] * (len(blocks) - 1) + [True]


def test_more_lanes_than_runs() -> None:
    few = train([toy(seed=1)], lanes=4)
    assert trace(few, 0)[:, 0].tolist() == _schedule(toy())
    np.testing.assert_allclose(final_vector(few, 0), final_vector(train([toy(seed=1)], lanes=1), 0), atol=1e-5)


def test_rows_of_a_block_are_sorted_and_typed() -> None:
    blocks = train([toy(seed=seed, steps=13) for seed in range(5)], lanes=2, segment_steps=6)
    for block in blocks:
        rows = list(zip(block.columns["run"], block.columns["step"], strict=True))
        assert rows == sorted(set(rows))
        kinds = {name: column.dtype.name for name, column in block.columns.items()}
        assert kinds == {
            "run": "int64",
            "step": "int64",
            "train_loss": "float32",
            "val_loss": "float32",
            "train_accuracy": "float64",
            "val_accuracy": "float64",
            "param_norm": "float32",
        }


def test_waiting_runs_enter_in_order_at_segment_boundaries_only() -> None:
    configs = [toy(seed=seed, steps=steps) for seed, steps in enumerate((4, 40, 10, 10))]
    blocks = train(configs, lanes=2, segment_steps=10)
    entered = [block.columns["run"][block.columns["step"] == 0].tolist() for block in blocks]
    assert entered == [[0, 1], [2], [3], []]


def test_progress_grows_to_the_whole() -> None:
    seen: list[Progress] = []
    configs = [toy(seed=seed, steps=25) for seed in range(3)]
    list(train_pack(configs, settings(lanes=2), on_progress=seen.append))
    assert [p.run_steps for p in seen] == sorted(p.run_steps for p in seen)
    assert seen[-1] == Progress(run_steps=75, runs_ended=3)
    assert len(seen) > 10


def test_weights_are_kept_only_if_asked_for() -> None:
    assert end_of(train([toy()], keep_weights=False), 0).weights is None


def test_the_stop_rule_waits_for_its_patience() -> None:
    config = easy(stop_val_accuracy=0.99, stop_patience_steps=20)
    rows, end = trace(train([config]), 0), end_of(train([config]), 0)
    met = rows[:, 4] >= 0.99
    since = rows[np.flatnonzero(~met)[-1] + 1, 0]
    expected = next(step for step in _schedule(config) if step - since >= 20)
    assert (end.outcome, end.stopped_at) == ("stopped", expected)
    assert rows[-1, 0] == expected < config.steps
    assert rows[:, 0].tolist() == [step for step in _schedule(config) if step <= expected]


def test_a_stopped_run_is_the_beginning_of_the_unstopped_one() -> None:
    stopped, whole = (trace(train([easy(stop_val_accuracy=rule)]), 0) for rule in (0.99, None))
    assert 2 < len(stopped) < len(whole)
    assert np.array_equal(stopped, whole[: len(stopped)])


def test_the_stop_rule_is_for_those_who_have_it() -> None:
    blocks = train([easy(stop_val_accuracy=0.99), easy(seed=1), easy(stop_val_accuracy=0.99, stop_patience_steps=100)])
    assert [end_of(blocks, run).outcome for run in range(3)] == ["stopped", "ended", "ended"]


def test_accuracy_that_falls_back_starts_patience_anew() -> None:
    """Validation accuracy of a random network wanders around chance: no stretch above it is as long as the patience."""
    config = transformer(seed=1, task_kind="random_labels", task="random", steps=120, eval_gaps=40, learning_rate=0.03)
    rows = trace(train([config]), 0)
    threshold = float(np.median(rows[:, 4])) + 1e-9
    above = rows[:, 4] >= threshold
    assert above.any()
    assert not above.all()
    starts = np.flatnonzero(above & ~np.r_[False, above[:-1]])
    ends = np.flatnonzero(above & ~np.r_[above[1:], False])
    longest = int((rows[ends, 0] - rows[starts, 0]).max())
    total = int(rows[ends[-1], 0] - rows[starts[0], 0])
    assert total > longest
    rule = {"stop_val_accuracy": threshold}
    outcomes = [
        end_of(train([config.model_copy(update=rule | {"stop_patience_steps": patience})]), 0).outcome
        for patience in (longest, longest + 1)
    ]
    assert outcomes == ["stopped", "ended"]


def test_without_validation_examples_nothing_is_stopped() -> None:
    blocks = train([toy(train_size=15, stop_val_accuracy=0.01)])
    assert end_of(blocks, 0).outcome == "ended"
    assert np.isnan(trace(blocks, 0)[:, [2, 4]]).all()


def test_a_diverged_run_leaves_at_its_next_evaluation() -> None:
    configs = [toy(optimizer="sgd", learning_rate=1e12), toy(optimizer="sgd", learning_rate=1e-2)]
    blocks = train(configs)
    rows, end = trace(blocks, 0), end_of(blocks, 0)
    assert end.outcome == "diverged"
    assert end.stopped_at is not None
    assert rows[-2, 0] < end.stopped_at <= rows[-1, 0] < 40
    assert not np.isfinite(rows[-1, 1])
    assert np.isfinite(rows[:-1, [1, 5]]).all()
    assert end_of(blocks, 1).outcome == "ended"
    assert blocks[-1].run_steps == 40 + rows[-1, 0]


def test_a_run_that_starts_beyond_numbers_diverges_at_step_0_and_the_pack_goes_on() -> None:
    blocks = train([transformer(init_scale=1e12), transformer()], lanes=1)
    assert (end_of(blocks, 0).outcome, end_of(blocks, 0).stopped_at) == ("diverged", 0)
    assert trace(blocks, 0)[:, 0].tolist() == [0]
    assert end_of(blocks, 1).outcome == "ended"


def test_a_loss_beyond_float32_is_divergence_and_no_warning() -> None:
    """The float64 loss itself is still finite there."""
    blocks = train([toy(optimizer="sgd", learning_rate=1e12, loss_dtype="float64")])
    assert end_of(blocks, 0).outcome == "diverged"
    assert np.isinf(trace(blocks, 0)[-1, 1])


def test_runs_of_other_shapes_do_not_share_a_pack() -> None:
    with pytest.raises(AssertionError, match="shape key"):
        train([toy(), toy(width=9)])
