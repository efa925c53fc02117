"""What must hold for any trace: one label each, and the same label when only the log, not the run, is another."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from label_traces import BUDGET, CHANCE, NEVER, eval_steps, label, learns, rise, sweep

from results.classify import PHASE_ORDER, label_runs
from results.classify.columns import LABEL_COLUMNS

STEPS = eval_steps()
CURVES = {
    "comprehension": (learns(300), learns(600)),
    "grokking": (learns(300), learns(10_000)),
    "semi-grokking": (learns(300), learns(8000, high=0.6)),
    "progression": (
        lambda steps: rise(steps, 100, high=0.5) + rise(steps, 8000, high=0.5),
        lambda steps: rise(steps, 8000),
    ),
    "memorization": (learns(300), lambda steps: np.full(len(steps), CHANCE)),
    "ungrokking": (learns(300), lambda steps: rise(steps, 2000) - rise(steps, 20_000, high=0.95)),
    "confusion": (learns(300, high=0.4), lambda steps: np.full(len(steps), CHANCE)),
}


def random_walks(n_runs: int, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Accuracies that wander anywhere in [0, 1], of random lengths, on random steps, with holes."""
    draw = np.random.default_rng(seed)
    logs = [np.unique(draw.integers(0, draw.choice([50, 5000, 10**6]), draw.integers(1, 80))) for _ in range(60)]
    traces, runs = [], []
    for run in range(n_runs):
        steps = logs[draw.integers(len(logs))]
        walk = draw.uniform(0, 1, (2, 1)) + draw.normal(0, draw.choice([0, 0.01, 0.1]), (2, len(steps))).cumsum(axis=1)
        walk = np.clip(walk, 0, 1)
        walk[draw.uniform(size=walk.shape) < draw.choice([0, 0.3], p=[0.9, 0.1])] = np.nan
        norm = draw.lognormal(0, 1, len(steps)) * draw.choice([1, np.nan, 0])
        columns = {"step": steps, "train_accuracy": walk[0], "val_accuracy": walk[1], "param_norm": norm}
        traces.append(pd.DataFrame({"run_id": f"{seed}-{run:04d}", **columns}))
        runs.append(
            {
                "run_id": f"{seed}-{run:04d}",
                "outcome": draw.choice(["ended", "stopped", "diverged", None]),
                "steps": int(steps[-1] * draw.choice([1, 1, 2])),
                "chance_accuracy": draw.choice([0, 0.01, 0.5, np.nan]),
                "train_size": int(draw.choice([1, 10, 45, 3000])),
                "val_size": int(draw.choice([1, 10, 9769])),
                "label_noise": draw.choice([0, 0.3]),
            }
        )
    return pd.concat(traces, ignore_index=True), pd.DataFrame(runs)


def test_thousands_of_random_walks_get_one_label_each():
    traces, runs = random_walks(2000, 0)
    labels = label_runs(traces, runs)
    assert labels["run_id"].tolist() == sorted(runs["run_id"])
    assert set(labels["phase"]) == set(PHASE_ORDER)
    assert labels["confidence"].between(0, 1).all()
    assert labels["why"].str.endswith(".").all()
    assert not labels["why"].str.contains("nan").any()
    assert set(labels["liu_phase"]) <= {
        "comprehension", "grokking", "memorization", "confusion", "undefined", "undecided",
    }  # fmt: skip
    assert set(labels["huang_dynamic"]) <= {"grokking", "semi-grokking", "progression", "ungrokking", "none"}
    assert list(labels.columns[: len(LABEL_COLUMNS) + 1]) == ["run_id", *LABEL_COLUMNS]


def test_the_order_of_rows_has_no_say():
    traces, runs = random_walks(300, 1)
    labels = label_runs(traces, runs)
    again = label_runs(traces.sample(frac=1, random_state=0), runs.sample(frac=1, random_state=0))
    pd.testing.assert_frame_equal(labels, again)


def test_a_run_is_labelled_alike_alone_and_in_company():
    traces, runs = random_walks(40, 2)
    together = label_runs(traces, runs.assign(group=range(len(runs)))).set_index("run_id")
    for run_id in runs["run_id"]:
        alone = label_runs(traces[traces["run_id"] == run_id], runs[runs["run_id"] == run_id]).set_index("run_id")
        assert alone.loc[run_id, list(LABEL_COLUMNS)].equals(together.loc[run_id, list(LABEL_COLUMNS)])


def test_doubled_rows_count_once():
    traces, runs = sweep([{"t_train": 300, "t_val": t, "train_size": 9, "seed": 0} for t in (400, 9000, NEVER)])
    pd.testing.assert_frame_equal(label_runs(pd.concat([traces, traces]), runs), label_runs(traces, runs))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=25))
def test_any_short_trace_gets_a_phase(rows):
    train, val = np.array(rows).T
    assert label(train, val, steps=np.arange(len(rows)) * 100, budget=None).phase in PHASE_ORDER


@pytest.mark.parametrize("phase", CURVES)
def test_the_label_stays_on_a_log_twice_as_dense(phase):
    train, val = CURVES[phase]
    dense = np.unique(np.concatenate([STEPS, (STEPS[:-1] + STEPS[1:]) // 2]))
    assert label(train, val).phase == label(train, val, steps=dense).phase == phase


@pytest.mark.parametrize("phase", CURVES)
def test_the_label_stays_when_flat_rows_are_appended(phase):
    train, val = (curve(STEPS) for curve in CURVES[phase])
    longer = np.append(STEPS, np.arange(BUDGET + 200, 2 * BUDGET + 1, 200))
    more = len(longer) - len(STEPS)
    flat = [np.append(x, np.full(more, x[-1])) for x in (train, val)]
    assert label(*flat, steps=longer, budget=2 * BUDGET).phase == phase


@pytest.mark.parametrize("phase", CURVES)
def test_the_label_stays_under_a_little_noise(phase):
    draw = np.random.default_rng(3)
    for _ in range(5):
        train, val = (np.clip(curve(STEPS) + draw.normal(0, 0.01, len(STEPS)), 0, 1) for curve in CURVES[phase])
        assert label(train, val).phase == phase


def test_losses_have_no_say():
    train, val = CURVES["grokking"]
    plain = label(train, val)
    scaled = label(train, val, train_loss=np.full(len(STEPS), 7.0), val_loss=np.full(len(STEPS), 1e9))
    assert repr(plain) == repr(scaled)
