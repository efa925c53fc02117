"""Every measure against the plainest computation of it, and that observing a run neither changes nor loses anything."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import trainers_textbook as textbook
from launch_helpers import SLOTS, freeze, launch_here
from trainers_helpers import end_of, settings, toy, trace, train, transformer

from orchestrator.costs import FormulaCost
from orchestrator.plan import make_plan
from orchestrator.plan_summary import summarize
from orchestrator.spec import load_text
from orchestrator.worker import run_pack
from results import open_sweep
from results.schema import further_table, sort_rows
from results.store import SweepStore
from results.verify import verify
from trainers import cost, tasks
from trainers.config import RunConfig
from trainers.loop import train_pack
from trainers.metrics import catalog, measures
from trainers.metrics.page import metrics_page
from trainers.schedule import evaluation_steps, planned_steps
from trainers.trace import TraceBlock


def _readings(blocks: Sequence[TraceBlock], run: int = 0) -> dict[tuple[int, str, str | None, int | None], float]:
    """Every value of a run by step, name, layer and index."""
    found = {}
    for block in blocks:
        columns = block.further["measures"]
        index = [None if i is np.ma.masked else int(i) for i in columns["index"]]
        keys = zip(columns["step"].tolist(), columns["name"], columns["layer"], index, strict=True)
        for key, value, of in zip(keys, columns["value"].tolist(), columns["run"], strict=True):
            if of == run:
                assert key not in found
                found[key] = value
    return found


def _at_the_end(config: RunConfig) -> tuple[dict[tuple[str, str | None, int | None], float], dict[str, np.ndarray]]:
    """What was measured at the last step, and the final weights in float64."""
    blocks = train([config])
    weights = end_of(blocks, 0).weights
    assert weights is not None
    last = {key[1:]: value for key, value in _readings(blocks).items() if key[0] == config.steps}
    return last, {name: weight.astype(np.float64) for name, weight in weights.items()}


def test_norms_of_every_parameter_and_of_every_hidden_unit() -> None:
    found, weights = _at_the_end(transformer(measures="neuron_norms,norms", measure_at="every 40", depth=2))
    expected: dict[Any, float] = {("norms", name, None): np.linalg.norm(weight) for name, weight in weights.items()}
    for name in ("blocks.0.mlp.up.weight", "blocks.1.mlp.up.weight"):
        expected |= {("neuron_norms", name, i): np.linalg.norm(row) for i, row in enumerate(weights[name])}
    assert found == pytest.approx(expected, rel=1e-12)


def test_hidden_units_of_a_stack_are_those_before_a_nonlinearity() -> None:
    found, weights = _at_the_end(toy(measures="neuron_norms", measure_at="steps 40"))
    layers = ("decoder.0.weight", "decoder.1.weight")
    rows = {(name, i): np.linalg.norm(row) for name in layers for i, row in enumerate(weights[name])}
    assert {key[1:]: value for key, value in found.items()} == pytest.approx(rows, rel=1e-12)


def _right_of(config: RunConfig, weights: dict[str, np.ndarray], units: Sequence[int]) -> int:
    """Training examples that the network gets right with these hidden units alone."""
    data = tasks.build(config)
    kept = weights["decoder.1.weight"].copy()
    kept[:, [unit for unit in range(config.width) if unit not in units]] = 0
    module = textbook.network(config, {**weights, "decoder.1.weight": kept}).double()
    with torch.no_grad():
        outputs = module(torch.from_numpy(data.inputs_NT[data.train_D]))
    if config.loss == "mse":
        predicted = torch.cdist(outputs, torch.from_numpy(data.target_vectors_CK).double()).argmin(-1)
    else:
        predicted = outputs.argmax(-1)
    return int((predicted.numpy() == data.labels_N[data.train_D]).sum())


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_the_subnetwork_is_the_least_that_does_as_well_on_the_training_set(loss: str) -> None:
    sizes = set()
    for steps in (1, 40, 400):
        config = toy(depth=1, loss=loss, steps=steps, measures="subnetwork_size", measure_at=f"steps {steps}", seed=3)
        found, weights = _at_the_end(config)
        order = np.argsort(-np.linalg.norm(weights["decoder.0.weight"], axis=1), kind="stable").tolist()
        whole = _right_of(config, weights, order)
        least = next(k for k in range(1, config.width + 1) if _right_of(config, weights, order[:k]) == whole)
        assert found == {("subnetwork_size", None, None): least}
        sizes.add(least)
    assert len(sizes) > 1


def test_power_of_a_frequency_is_that_of_its_waves() -> None:
    """Against sums over cosines and sines, for an odd and an even number of symbols."""
    rng = np.random.default_rng(0)
    for n_symbols in (7, 8):
        embedding = rng.standard_normal((n_symbols, 3))
        angle = 2 * np.pi * np.arange(n_symbols) / n_symbols
        expected = []
        for k in range(n_symbols // 2 + 1):
            waves = [wave for wave in (np.cos(k * angle), np.sin(k * angle)) if np.linalg.norm(wave) > 1e-9]
            expected.append(sum(np.sum((wave @ embedding) ** 2) / np.sum(wave**2) for wave in waves))
        power = measures.embedding_power(embedding)
        np.testing.assert_allclose(power, expected, rtol=1e-12)
        assert power.sum() == pytest.approx(np.sum(embedding**2), rel=1e-12)


def test_a_pure_wave_is_the_only_key_frequency_and_random_embeddings_have_none() -> None:
    angle = 2 * np.pi * np.arange(31)[:, None] / 31
    power = measures.embedding_power(np.cos(4 * angle + np.arange(5)) + 7)
    assert measures.key_frequencies(power).tolist() == [4]
    assert measures.gini(np.sqrt(power[1:])) == pytest.approx(14 / 15)
    random = np.random.default_rng(1).standard_normal((200, 31, 16))
    assert not any(len(measures.key_frequencies(measures.embedding_power(each))) for each in random)
    assert measures.key_frequencies(np.zeros(5)).tolist() == []


def test_gini_is_half_the_relative_mean_difference() -> None:
    values = np.random.default_rng(2).exponential(size=12)
    differences = np.abs(values[:, None] - values).mean()
    assert measures.gini(values) == pytest.approx(differences / (2 * values.mean()), rel=1e-12)
    assert measures.gini(np.full(5, 3.0)) == pytest.approx(0)


def test_effective_dimension_is_that_of_the_covariance() -> None:
    found, weights = _at_the_end(transformer(measures="effective_dimension", measure_at="steps 40"))
    shares = np.linalg.eigvalsh(np.cov(weights["embed.weight"][:5].T))
    shares = shares[shares > 1e-12] / shares.sum()
    expected = np.exp(-np.sum(shares * np.log(shares)))
    assert found == {("effective_dimension", None, None): pytest.approx(expected, rel=1e-6)}


@pytest.mark.parametrize("task", ["a + b", "a - b"])
@pytest.mark.parametrize("modulus", [7, 8])
def test_fourier_losses_against_a_fit_of_waves_over_all_pairs(
    task: str, modulus: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measures, "KEY_POWER", 1.0)  # so small a task has no clear key frequencies
    changes = {"task": task, "modulus": modulus, "train_size": 30, "label_noise": 0.2}
    config = transformer(measures="fourier,fourier_losses", measure_at="steps 40", **changes)
    found, weights = _at_the_end(config)
    keys = [index for name, _, index in found if name == "key_frequency"]
    assert 0 < len(keys) < modulus // 2
    data = tasks.build(config)
    with torch.no_grad():
        logits = textbook.network(config, weights).double()(torch.from_numpy(data.inputs_NT)).numpy()
    a, b = data.inputs_NT.T
    angle = 2 * np.pi * (a + b if task == "a + b" else a - b) / modulus
    waves = np.stack([wave(k * angle) for k in keys for wave in (np.cos, np.sin)], axis=1)
    fitted = waves @ np.linalg.lstsq(waves, logits, rcond=1e-9)[0]

    def loss(logits: np.ndarray, chosen: np.ndarray) -> float:
        return F.cross_entropy(torch.from_numpy(logits[chosen]), torch.from_numpy(data.labels_N[chosen])).item()

    everything = np.arange(modulus**2)
    assert found["restricted_loss", None, None] == pytest.approx(loss(logits.mean(0) + fitted, everything), rel=1e-4)
    assert found["excluded_loss", None, None] == pytest.approx(loss(logits - fitted, data.train_D), rel=1e-4)


def test_without_key_frequencies_nothing_is_excluded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measures, "KEY_POWER", 100.0)
    blocks = train([transformer(measures="fourier,fourier_losses", measure_at="steps 40")])
    found = {key[1]: value for key, value in _readings(blocks).items()}
    assert "key_frequency" not in found
    assert found["excluded_loss"] == pytest.approx(trace(blocks, 0)[-1, 1], rel=1e-5)


def test_every_measure_is_explained_and_every_explained_one_is_there() -> None:
    assert set(measures.MEASURES) == set(catalog.MEASURES)


def test_the_page_of_metrics_is_up_to_date() -> None:
    page = (Path(__file__).parent.parent / "docs" / "metrics.md").read_text()
    assert page == metrics_page(), "accept with: python docs/make_metrics.py"
    spec = page.split("```yaml\n")[1].split("```")[0]
    assert load_text(f"name: x\ntask: {{modulus: 7}}\ntrain_size: 20\nsteps: 20000\n{spec}")


def test_schedules_in_words() -> None:
    assert planned_steps("every 30", 100).tolist() == [0, 30, 60, 90, 100]
    assert planned_steps("every 50", 100).tolist() == [0, 50, 100]
    assert planned_steps("steps 0 7 100 101", 100).tolist() == [0, 7, 100]
    assert planned_steps("log 1.5 10", 100).tolist() == evaluation_steps(100, 1.5, 10).tolist()


OBSERVED = {
    "measures": "effective_dimension,fourier,neuron_norms,norms", "measure_at": "every 9",
    "snapshots": "weights", "snapshot_at": "steps 0 3 20 21 40",
}  # fmt: skip


def _assert_same_tables(one: Sequence[TraceBlock], other: Sequence[TraceBlock], n_runs: int) -> None:
    """Bit for bit, each row once."""
    names = [str(run) for run in range(n_runs)]
    for table in ("measures", "snapshots"):
        rows = [
            sort_rows(further_table(table, _together([block.further[table] for block in blocks]), names), table)
            for blocks in (one, other)
        ]
        assert len(rows[0]) > 20
        assert rows[0].equals(rows[1])


def _together(parts: Sequence[Any]) -> dict[str, Any]:
    return {name: [value for part in parts for value in _plain(part[name])] for name in parts[0]}


def _plain(column: Any) -> list[Any]:
    return [None if value is np.ma.masked else value for value in column]


@pytest.mark.parametrize("make", [transformer, toy])
def test_going_on_from_any_checkpoint_observes_the_same(make: Any) -> None:
    """Segments end on a step that is measured (18), on one that is kept (3, 21) and on others."""
    configs = [make(seed=seed, steps=40 - 7 * seed, batch_size=4, **OBSERVED) for seed in range(3)]
    for segment_steps in (3, 9, 10):
        how = settings(lanes=2, segment_steps=segment_steps)
        whole = list(train_pack(configs, how))
        for cut in (1, len(whole) // 2, len(whole) - 1):
            rest = list(train_pack(configs, how, checkpoint=whole[cut - 1].checkpoint))
            _assert_same_tables(whole, [*whole[:cut], *rest], len(configs))


def test_in_other_segments_and_lanes_it_is_the_same() -> None:
    configs = [transformer(seed=seed, **OBSERVED) for seed in range(3)]
    _assert_same_tables(train(configs, segment_steps=7), train(configs, segment_steps=100), 3)
    pack, alone = train(configs, lanes=2, segment_steps=7), train([configs[2]], lanes=1)
    mine, theirs = _readings(pack, 2), _readings(alone, 0)
    assert mine.keys() == theirs.keys()
    assert mine == pytest.approx(theirs, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("make", [transformer, toy])
def test_observing_changes_no_bit_of_the_traces(make: Any) -> None:
    without, observed = ([make(seed=seed, **changes) for seed in range(3)] for changes in ({}, OBSERVED))
    for run, (one, other) in itertools.product(range(3), [(train(without, lanes=2), train(observed, lanes=2))]):
        assert np.array_equal(trace(one, run), trace(other, run))
    assert "measures" not in train(without)[0].further


def test_snapshots_are_of_the_initial_and_of_the_final_weights() -> None:
    blocks = train([transformer(snapshots="embedding", snapshot_at="steps 0 40", steps=40)])
    kept = _together([block.further["snapshots"] for block in blocks])
    assert (kept["step"], kept["name"], kept["shape"]) == ([0, 40], ["embed.weight"] * 2, [[6, 8]] * 2)
    final = end_of(blocks, 0).weights
    assert final is not None
    assert np.array_equal(kept["values"][1], final["embed.weight"].reshape(-1))
    assert not np.array_equal(kept["values"][0], kept["values"][1])


def test_a_diverged_run_is_observed_while_it_is_finite() -> None:
    config = transformer(optimizer="sgd", learning_rate=1e12, **(OBSERVED | {"measure_at": "every 1"}))
    blocks = train([config, transformer(optimizer="sgd", seed=1, **(OBSERVED | {"measure_at": "every 1"}))])
    assert end_of(blocks, 0).outcome == "diverged"
    steps = {key[0] for key in _readings(blocks, 0)}
    assert 0 in steps
    assert max(steps) < 5
    assert {key[0] for key in _readings(blocks, 1)} == set(range(41))


def test_the_plan_knows_what_dear_measures_cost_and_take() -> None:
    """Within a factor of 1.5 of what was measured on one core: 23 ms an evaluation, 73 ms the Fourier losses."""
    base = {"modulus": 113, "train_size": 3000, "width": 32, "steps": 1000}
    speed = cost.SPEEDS["cpu"]["eager"]

    def seconds(**changes: Any) -> float:
        return cost.seconds_per_run_step(RunConfig(**(base | changes)), 1, speed)

    dear = seconds(measures="fourier_losses", measure_at="every 10") - seconds()
    assert dear * 10 == pytest.approx(0.073, rel=0.5)
    assert seconds(measures="norms", measure_at="every 10") < 1.02 * seconds()
    assert seconds(metrics="embedding_norm,full_accuracy") == seconds()
    text = "name: x\ntask: {modulus: 113}\nmodel: {width: 32}\ntrain_size: 3000\nsteps: 1000\nseeds: 3\n"
    sizes = [
        summarize(make_plan(load_text(text + more), SLOTS, FormulaCost(device="cpu"))).bytes
        for more in ("", "snapshots: {every: 100}\n", "measures: {names: [neuron_norms], every: 100}\n")
    ]
    assert sizes[1] - sizes[0] == pytest.approx(3 * 11 * 114 * 32 * 3.8, rel=0.01)
    assert sizes[2] - sizes[0] == pytest.approx(3 * 11 * 128 * 7.5, rel=0.01)


SPEC = """\
name: observed
task: {kind: toy_addition, modulus: 6}
model: {kind: toy, width: 5, depth: 1}
loss: mse
steps: 60
train_size: 15
metrics: [full_accuracy, embedding_norm]
measures: {names: [subnetwork_size, norms], every: 20}
snapshots: {steps: [0, 30, 60]}
evaluation: {growth: 2, gaps: 15}
seeds: 5
resources: {device: cpu, lanes: 2}
"""


def test_a_sweep_that_is_stopped_at_every_commit_has_the_same_tables(tmp_path: Any) -> None:
    assert launch_here(freeze(tmp_path / "whole", SPEC, segment_s=0.05), tmp_path / "whole").exit_code == 0
    freeze(tmp_path / "parts", SPEC, segment_s=0.05)
    store = SweepStore(tmp_path / "parts")
    for pack_id in store.pack_ids():
        ends = [run_pack(store.root, pack_id, store.begin_attempt(), should_stop=lambda: True)]
        while ends[-1] != "done":
            ends.append(run_pack(store.root, pack_id, store.begin_attempt(), should_stop=lambda: True))
        assert len(ends) > 3
    for table in ("traces", "measures", "snapshots"):
        whole, parts = ({p.name: p.read_bytes() for p in (tmp_path / d / table).iterdir()} for d in ("whole", "parts"))
        assert whole == parts
    assert verify(store.root) == []
    sweep = open_sweep(store.root)
    measured = sweep.measures(name="norms", layer="embed.weight")
    assert measured.groupby("run_id")["step"].agg(list).tolist() == [[0, 20, 40, 60]] * 5
    run_id = measured["run_id"].iloc[0]
    final = sweep.snapshots(run_id)[60]
    assert final.shape == (6, 1)
    row = sweep.traces(run_id=run_id, step=60).iloc[0]
    assert row["embedding_norm"] == pytest.approx(np.linalg.norm(final), rel=1e-6)
    assert row["full_accuracy"] == pytest.approx((15 * row["train_accuracy"] + 6 * row["val_accuracy"]) / 21)
