"""A worker trains a pack from where the store left it; a failure is recorded where the pack lies."""

import functools
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from launch_helpers import SPEC, freeze

from orchestrator import worker
from orchestrator.columns import config_columns
from orchestrator.errors import UserError
from orchestrator.machine import require_visible_gpu
from orchestrator.plan import Plan
from orchestrator.worker import run_pack, try_pack
from results.store import SweepStore
from results.sweep import open_sweep
from trainers import tasks
from trainers.config import RunConfig
from trainers.loop import train_pack
from trainers.trace import DENSE_METRICS, TraceBlock


def begin(folder: Path, spec: str = SPEC, **options: Any) -> tuple[SweepStore, Plan, int]:
    freeze(folder, spec, **options)
    store = SweepStore(folder)
    return store, Plan.from_json(store.read_plan()), store.begin_attempt()


def never() -> bool:
    return False


def test_a_pack_stopped_again_and_again_has_the_rows_of_one_trained_in_one_go(tmp_path: Path):
    store, plan, attempt = begin(tmp_path / "whole")
    pack = plan.packs[0]
    assert run_pack(store.root, pack.pack_id, attempt, should_stop=never) == "done"
    pieces, _, attempt = begin(tmp_path / "pieces")
    asked = itertools.cycle([False, False, False, False, True])
    ends = ["drained"]
    while ends[-1] == "drained":
        ends.append(run_pack(pieces.root, pack.pack_id, attempt, should_stop=lambda: next(asked)))
    assert len(ends) - 1 == -(-pack.n_segments // 5) > 3
    rows = [open_sweep(s.root).traces().sort_values(["run_id", "step"], ignore_index=True) for s in (store, pieces)]
    pd.testing.assert_frame_equal(*rows, check_exact=True)


def test_rows_are_those_of_train_pack_with_the_config_of_their_run(tmp_path: Path):
    store, plan, attempt = begin(tmp_path / "sweep")
    pack = plan.packs[0]
    run_pack(store.root, pack.pack_id, attempt, should_stop=never)
    rows = open_sweep(store.root).traces()
    for block in train_pack(pack.configs(), pack.settings):
        for row in range(len(block.columns["run"])):
            config = pack.configs()[block.columns["run"][row]]
            found = rows[(rows["run_id"] == config.run_id) & (rows["step"] == block.columns["step"][row])]
            assert len(found) == 1
            for metric in DENSE_METRICS:
                assert found[metric].item() == pytest.approx(block.columns[metric][row], rel=0, abs=0, nan_ok=True)
            assert found["width"].item() == config.width
            assert found["learning_rate"].item() == config.learning_rate


def test_a_finished_pack_is_not_trained_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store, plan, attempt = begin(tmp_path / "sweep")
    run_pack(store.root, plan.packs[0].pack_id, attempt, should_stop=never)
    monkeypatch.setattr(worker, "train_pack", None)
    assert run_pack(store.root, plan.packs[0].pack_id, attempt, should_stop=never) == "done"


def test_a_failure_is_recorded_and_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store, plan, attempt = begin(tmp_path / "sweep")
    pack_id = plan.packs[0].pack_id
    monkeypatch.setattr(worker, "train_pack", functools.partial(_fail_at, 3))
    with pytest.raises(ZeroDivisionError):
        run_pack(store.root, pack_id, attempt, should_stop=never)
    failure = store.pack(pack_id).failure()
    assert failure is not None
    assert failure.attempt == attempt
    assert pack_id in failure.text
    assert failure.text.rstrip().endswith("ZeroDivisionError: poison")
    assert try_pack(store.root, pack_id, attempt, never) == "failed"
    monkeypatch.undo()
    assert try_pack(store.root, pack_id, attempt, never) == "done"
    assert store.pack(pack_id).failure() is None


def _fail_at(segment: int, *args: Any, **kwargs: Any) -> Iterator[TraceBlock]:
    for block in train_pack(*args, **kwargs):
        if block.segment == segment:
            raise ZeroDivisionError("poison")
        yield block


def test_weights_are_kept_if_the_spec_says_so(tmp_path: Path):
    store, plan, attempt = begin(tmp_path / "sweep", SPEC + "keep: {weights: final}\n", segment_s=1e9)
    pack = plan.packs[0]
    run_pack(store.root, pack.pack_id, attempt, should_stop=never)
    weights = store.read_weights(pack.run_ids[-1])
    assert sum(tensor.size for tensor in weights.values()) == store.pack(pack.pack_id).outcomes()[-1].n_parameters


def test_headers_say_where_and_with_what_they_were_trained(tmp_path: Path):
    store, plan, attempt = begin(tmp_path / "sweep", segment_s=1e9)
    run_pack(store.root, plan.packs[0].pack_id, attempt, should_stop=never)
    header = store.pack(plan.packs[0].pack_id).newest_header()
    assert header is not None
    (fingerprint,) = header.fingerprints.values()
    assert {"torch", "device", "threads", "engine", "sources"} <= fingerprint.keys()


def test_a_plan_whose_runs_have_another_identity_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store, plan, attempt = begin(tmp_path / "sweep")
    monkeypatch.setattr("trainers.config.IDENTITY_VERSION", 2)
    with pytest.raises(UserError, match="another identity") as caught:
        run_pack(store.root, plan.packs[0].pack_id, attempt, should_stop=never)
    assert caught.value.exit_code == 78


def test_a_gpu_that_torch_cannot_see_is_an_error_at_once(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    require_visible_gpu("cpu", 1.0)
    with pytest.raises(UserError, match="can't see one") as caught:
        require_visible_gpu("cuda", 1.0)
    assert caught.value.exit_code == 78


def test_config_columns_show_what_is_in_effect():
    toy = RunConfig(
        task_kind="toy_addition", model="toy", modulus=10, train_size=45, steps=5, learning_rate=0.1, weight_decay=2.0,
        embedding_weight_decay=0.0,
    )  # fmt: skip
    noise = RunConfig(task_kind="random_labels", task="random", modulus=11, train_size=50, steps=5, batch_size=10)
    names = ("embedding_learning_rate", "embedding_weight_decay", "heads", "train_fraction", "val_size", "batch_size")
    assert config_columns([toy, noise], names) == {
        "embedding_learning_rate": [0.1, noise.learning_rate],
        "embedding_weight_decay": [0.0, noise.weight_decay],
        "heads": [None, 4],
        "train_fraction": [45 / 55, 50 / 121],
        "val_size": [10, 71],
        "batch_size": [None, 10],
    }
    chance = config_columns([toy, noise, noise.model_copy(update={"seed": 1})], ["chance_accuracy"])["chance_accuracy"]
    assert chance[0] == 5 / 55
    assert chance[1] != chance[2]  # the commonest of random labels depends on the draw
    members = {"task_kind": "mixture", "task": "mixture", "members": "one: random; two: random"}
    mixed = [noise.model_copy(update={**members, "seed": seed}) for seed in range(4)]
    chance = config_columns(mixed, ["chance_accuracy"])["chance_accuracy"]
    assert chance == [tasks.build(config).chance_accuracy for config in mixed]
    assert len(set(chance)) > 1
