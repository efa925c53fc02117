"""Three engines, one training; and training that learns."""

import functools
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_trainers_checkpoint import _go_on_in_a_new_process
from test_trainers_models import LIU, POWER
from trainers_helpers import end_of, final_vector, toy, trace, train, transformer

from trainers.config import RunConfig
from trainers.losses import loss_per_example
from trainers.models import layout
from trainers.trace import Engine, TraceBlock


def test_plain_and_eager_train_the_same() -> None:
    """Measured: weights differ by less than 1e-6 after 40 steps."""
    configs = [transformer(seed=seed, weight_decay=1.0) for seed in range(4)]
    plain, eager = (train(configs, engine=engine) for engine in ("plain", "eager"))
    for run in range(4):
        np.testing.assert_allclose(trace(plain, run), trace(eager, run), rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(final_vector(plain, run), final_vector(eager, run), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("options", [POWER | {"depth": 2, "dropout": 0.1}, LIU, {"model": "mlp"}], ids=str)
def test_plain_and_eager_train_the_same_with_the_options_of_the_sources(options: dict[str, Any]) -> None:
    """In plain, too, a run in a pack equals the run alone."""
    configs = [transformer(seed=seed, weight_decay=1.0, steps=20, **options) for seed in range(2)]
    plain, eager = (train(configs, engine=engine) for engine in ("plain", "eager"))
    for run in range(2):
        np.testing.assert_allclose(trace(plain, run), trace(eager, run), rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(final_vector(plain, run), final_vector(eager, run), rtol=2e-5, atol=2e-5)
    alone = train(configs[1:], engine="plain", lanes=1)
    np.testing.assert_allclose(final_vector(plain, 1), final_vector(alone, 0), rtol=1e-5, atol=1e-5)


COMPILED = [toy(seed=seed, depth=1, width=4, batch_size=4, steps=30) for seed in range(2)]
needs_compiler = pytest.mark.skipif(not any(map(shutil.which, ("c++", "g++", "clang++"))), reason="no C++ compiler")
# The compiler is to work in this process: a pool of workers costs more than so small a program takes.
os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")
# torch 2.13 warns of its own use of torch.jit when its compiler is imported.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")


@functools.cache
def _compiled() -> list[TraceBlock]:
    return train(COMPILED, engine="compiled", lanes=2)


@needs_compiler
def test_compiled_and_eager_train_the_same() -> None:
    eager = train(COMPILED, lanes=2)
    for run in range(2):
        np.testing.assert_allclose(trace(_compiled(), run), trace(eager, run), rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(final_vector(_compiled(), run), final_vector(eager, run), rtol=2e-5, atol=2e-5)


@needs_compiler
@pytest.mark.parametrize(
    "options", [POWER | {"vocabulary": None}, LIU | {"dropout": 0.3, "dropout_on": "mlp"}], ids=["power", "liu"]
)
def test_compiled_and_eager_train_the_same_with_the_options_of_the_sources(options: dict[str, Any]) -> None:
    configs = [transformer(seed=seed, steps=20, **options | {"width": 4}) for seed in range(2)]
    compiled, eager = (train(configs, engine=engine, lanes=2) for engine in ("compiled", "eager"))
    for run in range(2):
        np.testing.assert_allclose(trace(compiled, run), trace(eager, run), rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(final_vector(compiled, run), final_vector(eager, run), rtol=2e-5, atol=2e-5)


@needs_compiler
def test_compiled_training_goes_on_bit_for_bit_in_a_new_process(tmp_path: Path) -> None:
    checkpoint = _compiled()[0].checkpoint
    assert checkpoint is not None
    _go_on_in_a_new_process(tmp_path, COMPILED, checkpoint, "compiled")
    for run in range(2):
        assert np.array_equal(np.load(tmp_path / f"trace{run}.npy"), trace(_compiled()[1:], run))
        assert np.array_equal(np.load(tmp_path / f"final{run}.npy"), final_vector(_compiled(), run))


def test_float64_is_of_the_loss_alone() -> None:
    """Same weights to start with, same dtype throughout, nearly the same path; and not the very same."""
    single, double = (train([transformer(loss_dtype=dtype)]) for dtype in ("float32", "float64"))
    weights = end_of(double, 0).weights
    assert weights is not None
    assert {value.dtype for value in weights.values()} == {np.dtype(np.float32)}
    assert np.array_equal(trace(single, 0)[0, 3:], trace(double, 0)[0, 3:])
    np.testing.assert_allclose(final_vector(single, 0), final_vector(double, 0), rtol=1e-4, atol=1e-4)
    assert not np.array_equal(final_vector(single, 0), final_vector(double, 0))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_float32_softmax_cannot_tell_small_losses_from_none(dtype: str) -> None:
    """Logits far apart: the loss of float32 is exactly 0, that of float64 is not (Nanda et al. 2023, on numerics)."""
    outputs, labels = torch.tensor([[30.0, 0.0, 0.0]]), torch.tensor([0])
    loss = loss_per_example(outputs, labels, torch.zeros(1, 1), transformer(loss_dtype=dtype)).item()
    assert loss == (0.0 if dtype == "float32" else pytest.approx(2 * np.exp(-30), rel=1e-3))


def _trained_accuracy(config: RunConfig, engine: Engine = "eager") -> Any:
    return trace(train([config], engine=engine, segment_steps=1000), 0)[-1]


def test_the_toy_learns_its_training_set() -> None:
    config = toy(modulus=10, train_size=45, width=64, target_dim=30, steps=600, learning_rate=1e-2)
    assert _trained_accuracy(config)[3] == 1.0


def test_a_transformer_memorizes_half_of_a_table() -> None:
    config = transformer(modulus=7, train_size=25, width=16, steps=150, learning_rate=1e-2)
    row = _trained_accuracy(config)
    assert row[3] == 1.0
    assert row[1] < 0.05


def test_weight_decay_shrinks_the_norm() -> None:
    configs = [transformer(weight_decay=decay, steps=100) for decay in (0.0, 1.0)]
    blocks = train(configs)
    start = np.linalg.norm(layout.initial_vector(configs[0]))
    assert trace(blocks, 1)[-1, 5] < 0.9 * trace(blocks, 0)[-1, 5]
    assert trace(blocks, 0)[-1, 5] > start
