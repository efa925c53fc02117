"""Every metric of a row, computed again from the weights with torch.nn."""

from typing import Any

import numpy as np
import pytest
import torch
import trainers_textbook as textbook
from trainers_helpers import end_of, final_vector, toy, trace, train, transformer

from trainers import tasks
from trainers.config import RunConfig

RUNS: dict[str, RunConfig] = {
    "transformer": transformer(),
    "toy, dropout": toy(depth=1, dropout=0.3),
    "minibatch, noise": transformer(batch_size=4, label_noise=0.5, seed=2),
    "division": transformer(task="a / b", loss_dtype="float64"),
    "toy": toy(),
    "toy, noise": toy(label_noise=0.9),
    "toy, classification": toy(loss="cross_entropy", embedding_dim=2),
}


def _predicted(outputs: torch.Tensor, config: RunConfig) -> torch.Tensor:
    if config.loss == "cross_entropy":
        return outputs.argmax(-1)
    vectors = torch.from_numpy(tasks.build(config).target_vectors_CK)
    return torch.cdist(outputs.double(), vectors.double()).argmin(-1)


def _expected(config: RunConfig, weights: Any) -> list[float]:
    data = tasks.build(config)
    module = textbook.network(config, weights)
    labels = torch.from_numpy(data.labels_N.copy())
    losses, accuracies = [], []
    for chosen in (data.train_D, data.val_V):
        with torch.no_grad():
            outputs = module(torch.from_numpy(data.inputs_NT[chosen]))
        losses.append(textbook.loss(outputs, labels[chosen], config).item())
        accuracies.append((_predicted(outputs, config) == labels[chosen]).double().mean().item())
    return [*losses, *accuracies]


@pytest.mark.parametrize("name", RUNS)
def test_the_last_row_is_of_the_kept_weights(name: str) -> None:
    config = RUNS[name]
    blocks = train([config])
    row, vector = trace(blocks, 0)[-1], final_vector(blocks, 0)
    expected = _expected(config, end_of(blocks, 0).weights)
    assert row[0] == config.steps
    np.testing.assert_allclose(row[1:3], expected[:2], rtol=2e-5)
    assert row[3:5].tolist() == expected[2:]
    assert row[5] == pytest.approx(np.linalg.norm(vector.astype(np.float64)), rel=1e-6)


def test_the_first_row_is_of_the_initial_weights() -> None:
    row = trace(train([transformer()]), 0)[0]
    assert row[0] == 0
    expected = _expected(transformer(), None)
    np.testing.assert_allclose(row[1:3], expected[:2], rtol=1e-5)
    assert row[3:5].tolist() == expected[2:]


def test_training_accuracy_counts_the_noisy_labels_as_right() -> None:
    """A network that memorizes noise has training accuracy 1, and its validation labels have no noise."""
    config = transformer(label_noise=0.5, steps=150, learning_rate=3e-2)
    rows = trace(train([config]), 0)
    assert rows[-1, 3] == 1.0
    clean, noisy = tasks.build(transformer()), tasks.build(config)
    assert (clean.labels_N != noisy.labels_N)[noisy.train_D].sum() >= 3


def test_accuracies_are_counts_over_counts() -> None:
    rows = trace(train([transformer()]), 0)
    for column, size in ((3, 15), (4, 10)):
        assert set(rows[:, column]) <= {count / size for count in range(size + 1)}


def test_where_the_loss_is_not_a_number_neither_is_the_accuracy() -> None:
    rows = trace(train([transformer(optimizer="sgd", learning_rate=1e12)]), 0)
    assert np.isnan(rows[-1, 1:5]).all()
