"""Training goes on from a checkpoint bit for bit, and refuses what is not one."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from trainers_helpers import end_of, final_vector, settings, toy, trace, train, transformer

from trainers.config import RunConfig
from trainers.loop import train_pack
from trainers.trace import TraceBlock


def easy(**changes: Any) -> RunConfig:
    """Every label is 0, which is learnt within 20 steps; then patience runs from one segment into the next."""
    fields = {"task": "a - a", "stop_val_accuracy": 0.99, "stop_patience_steps": 20, "eval_gaps": 15, "steps": 60}
    return transformer(**(fields | changes))


# Budgets that end within segments, waiting runs, a lane that is idle at times.
PACKS: dict[str, list[RunConfig]] = {
    "full batch": [transformer(seed=seed, steps=30 + 9 * seed, weight_decay=1.0, warmup_steps=25) for seed in range(4)],
    "minibatch and dropout": [
        transformer(seed=seed, steps=21 + 8 * seed, batch_size=4, dropout=0.3, train_size=9 + seed) for seed in range(4)
    ],
    "sgd": [toy(seed=seed, steps=40 + seed, optimizer="sgd", momentum=0.9) for seed in range(3)],
    "diverged": [toy(seed=seed, optimizer="sgd", learning_rate=1e12 if seed % 2 else 0.01) for seed in range(4)],
    "stop rule": [easy(seed=seed, steps=60 - seed) for seed in range(4)],
}


def _assert_equal(blocks: list[TraceBlock], others: list[TraceBlock]) -> None:
    """Everything but times."""
    assert len(blocks) == len(others)
    for block, other in zip(blocks, others, strict=True):
        assert block.segment == other.segment
        assert block.run_steps == other.run_steps
        for name, column in block.columns.items():
            assert np.array_equal(column, other.columns[name], equal_nan=column.dtype.kind == "f"), name
        assert [(end.run, end.outcome, end.stopped_at) for end in block.ended] == [
            (end.run, end.outcome, end.stopped_at) for end in other.ended
        ]
        for end in block.ended:
            assert np.array_equal(final_vector([block], end.run), final_vector([other], end.run), equal_nan=True)
        assert (block.checkpoint is None) == (other.checkpoint is None)


@pytest.mark.parametrize("name", PACKS)
def test_a_checkpoint_goes_on_bit_for_bit(name: str) -> None:
    blocks = train(PACKS[name], lanes=2)
    assert len(blocks) >= 3
    for done in {1, len(blocks) // 2, len(blocks) - 1}:
        rest = train(PACKS[name], blocks[done - 1].checkpoint, lanes=2)
        _assert_equal(rest, blocks[done:])
    assert blocks[-1].checkpoint is None


def test_the_packs_above_do_what_they_are_named_after() -> None:
    assert end_of(train(PACKS["diverged"], lanes=2), 1).outcome == "diverged"
    for configs in (PACKS["stop rule"], CONFIGS):
        blocks = train(configs, lanes=2)
        stopped_at = [end_of(blocks, run).stopped_at for run in range(4)]
        assert all(step is not None and 20 < step < 60 for step in stopped_at)


CHILD = """
import sys
from pathlib import Path
import numpy as np
from trainers.config import RunConfig
from trainers.loop import train_pack
from trainers_helpers import final_vector, settings, trace
folder, engine = Path(sys.argv[1]), sys.argv[2]
configs = [RunConfig.model_validate_json(line) for line in (folder / "configs").read_text().splitlines()]
checkpoint = (folder / "checkpoint").read_bytes()
blocks = list(train_pack(configs, settings(lanes=2, engine=engine), checkpoint=checkpoint))
for run in range(len(configs)):
    np.save(folder / f"trace{run}.npy", trace(blocks, run))
    np.save(folder / f"final{run}.npy", final_vector(blocks, run))
"""


def _go_on_in_a_new_process(folder: Path, configs: list[RunConfig], checkpoint: bytes, engine: str) -> None:
    (folder / "configs").write_text("\n".join(config.model_dump_json() for config in configs))
    (folder / "checkpoint").write_bytes(checkpoint)
    here = Path(__file__).parent
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(here), str(here.parent)])}
    subprocess.run([sys.executable, "-c", CHILD, str(folder), engine], check=True, env=environment)


def test_a_new_process_goes_on_bit_for_bit(tmp_path: Path) -> None:
    configs = [transformer(seed=seed, steps=40, batch_size=4, dropout=0.3, weight_decay=1.0) for seed in range(2)]
    blocks = train(configs, lanes=2)
    assert blocks[0].checkpoint is not None
    _go_on_in_a_new_process(tmp_path, configs, blocks[0].checkpoint, "eager")
    for run in range(2):
        assert np.array_equal(np.load(tmp_path / f"trace{run}.npy"), trace(blocks[1:], run))
        assert np.array_equal(np.load(tmp_path / f"final{run}.npy"), final_vector(blocks, run))


CONFIGS = [easy(seed=seed, batch_size=4) for seed in range(4)]


def _checkpoint(configs: list[RunConfig] = CONFIGS) -> bytes:
    checkpoint = next(train_pack(configs, settings(lanes=2))).checkpoint
    assert checkpoint is not None
    return checkpoint


def _rewritten(data: bytes, change: Callable[[dict[str, torch.Tensor], dict[str, Any]], None]) -> bytes:
    """The checkpoint with its tensors and its state changed."""
    length = int.from_bytes(data[:8], "little")
    state = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["grokctl"])
    tensors = safetensors.torch.load(data)
    change(tensors, state)
    return safetensors.torch.save(tensors, metadata={"grokctl": json.dumps(state)})


def test_a_checkpoint_that_was_only_read_and_written_goes_on() -> None:
    """So that what the tests below refuse is refused for what they changed."""
    data = _checkpoint()
    _assert_equal(train(CONFIGS, _rewritten(data, lambda tensors, state: None), lanes=2), train(CONFIGS, data, lanes=2))


TENSORS = ("parameters", "first_moment", "second_moment", "step", "first_bad")
STATE = ("version", "run_ids", "slots", "counters")


def test_the_lists_of_keys_are_complete() -> None:
    seen: list[set[str]] = []
    _rewritten(_checkpoint(), lambda tensors, state: seen.extend([set(tensors), set(state)]))
    assert seen == [set(TENSORS), set(STATE)]


@pytest.mark.parametrize("name", TENSORS)
def test_a_checkpoint_without_one_of_its_tensors_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        train(CONFIGS, _rewritten(_checkpoint(), lambda tensors, state: tensors.pop(name)), lanes=2)


@pytest.mark.parametrize("name", STATE)
def test_a_checkpoint_without_one_of_its_values_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        train(CONFIGS, _rewritten(_checkpoint(), lambda tensors, state: state.pop(name)), lanes=2)


def _forget(name: str) -> Callable[[dict[str, torch.Tensor], dict[str, Any]], None]:
    def change(tensors: dict[str, torch.Tensor], state: dict[str, Any]) -> None:
        if name in TENSORS:
            tensors[name].fill_(-1 if name == "first_bad" else 0)
        elif name == "above_since":
            state["slots"] = [[run, done, None, wall_s] for run, done, _, wall_s in state["slots"]]
        elif name == "done":
            state["slots"] = [[run, done - 3, above, wall_s] for run, done, above, wall_s in state["slots"]]
        else:  # the counters
            state["counters"][("next_run", "segment", "run_steps").index(name)] -= 1

    return change


FORGETTABLE = (
    "parameters",
    "first_moment",
    "second_moment",
    "step",
    "above_since",
    "done",
    "next_run",
    "segment",
    "run_steps",
)


@pytest.mark.parametrize("name", FORGETTABLE)
def test_each_part_of_a_checkpoint_matters(name: str) -> None:
    """The comparison of this file notices every part that a checkpoint could fail to hold."""
    data = _checkpoint()
    with pytest.raises(AssertionError):
        _assert_equal(train(CONFIGS, _rewritten(data, _forget(name)), lanes=2), train(CONFIGS, data, lanes=2))


def test_a_loss_that_was_not_finite_once_is_not_forgotten() -> None:
    """No row falls between the first bad step and the checkpoint, so only `first_bad` tells when it was."""
    configs = [toy(seed=1, optimizer="sgd", learning_rate=1e12, steps=400, eval_growth=10.0, eval_gaps=1)]
    blocks = train(configs, lanes=1, segment_steps=5)
    assert 1 < end_of(blocks, 0).stopped_at < 5 < trace(blocks, 0)[-1, 0]
    first = blocks[0].checkpoint
    assert first is not None
    _assert_equal(train(configs, first, lanes=1, segment_steps=5), blocks[1:])
    forgetful = train(configs, _rewritten(first, _forget("first_bad")), lanes=1, segment_steps=5)
    assert end_of(forgetful, 0).stopped_at == 5


@pytest.mark.parametrize(
    ("configs", "changes"),
    [
        ([*CONFIGS[:3], CONFIGS[3].model_copy(update={"learning_rate": 0.5})], {}),
        (CONFIGS[:3], {}),
        (CONFIGS[::-1], {}),
        (CONFIGS, {"lanes": 3}),
        ([config.model_copy(update={"width": 16}) for config in CONFIGS], {}),
    ],
    ids=["another run", "a run less", "another order", "more lanes", "other shapes"],
)
def test_a_checkpoint_of_another_pack_is_refused(configs: list[RunConfig], changes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="pack"):
        train(configs, _checkpoint(), **({"lanes": 2} | changes))


def _damaged() -> list[bytes]:
    data = _checkpoint()
    flips = [bytes([*data[:at], data[at] ^ 0x55, *data[at + 1 :]]) for at in (0, 3, 7, 8, 9, 20, 40, 200)]
    cuts = [data[:length] for length in (0, 1, 7, 8, 30, len(data) // 2, len(data) - 1)]
    others = [safetensors.torch.save({"a": torch.ones(2)}), b"PAR1" * 10, (2).to_bytes(8, "little") + b"[]"]
    return [*flips, *cuts, data + b"\0", *others]


def test_damaged_bytes_are_a_value_error() -> None:
    """What damage leaves readable is caught by the store, which keeps a checksum."""
    for data in _damaged():
        with pytest.raises(ValueError, match="checkpoint"):
            train(CONFIGS, data, lanes=2)
