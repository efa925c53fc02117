"""The metrics of every row, from one pass over the whole table.

All are of the parameters after `step` updates, without dropout, over the complete sets: `train_*` over the training
examples with the labels that were trained on (noise included), `val_*` over every other example of the table (of
images: over those for validation). So accuracies are counts over counts, train and validation are of the same instant,
and nothing is a running mean. `param_norm` is the Euclidean norm of all parameters together, the quantity that falls
when weight decay trades memorization for a circuit (Huang et al. 2024, fig. 9). Where the loss is not a number, neither
is the accuracy: an argmax over NaN would name a class.

L lanes, N examples of the table, T operands, C classes, K outputs, P parameters.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from trainers.config import RunConfig
from trainers.losses import loss_per_example, predictions

Forward = Callable[[Tensor, Tensor], Tensor]


def measure(
    forward: Forward,
    vector_P: Tensor,
    inputs_NT: Tensor,
    labels_N: Tensor,
    train_N: Tensor,
    val_N: Tensor,
    targets_CK: Tensor,
    config: RunConfig,
) -> Tensor:
    """(5,) float64 in the order of trace.DENSE_METRICS, of one run. train_N and val_N are bool masks."""
    outputs_NK = forward(vector_P, inputs_NT)
    loss_N = loss_per_example(outputs_NK, labels_N.clamp(min=0), targets_CK, config)
    right_N = predictions(outputs_NK, targets_CK, config) == labels_N
    losses = [_as_stored(_mean(loss_N.double(), mask)) for mask in (train_N, val_N)]
    accuracies = [_mean(right_N.double(), mask) for mask in (train_N, val_N)]
    accuracies = [torch.where(loss.isnan(), loss, value) for loss, value in zip(losses, accuracies, strict=True)]
    return torch.stack([*losses, *accuracies, _as_stored(vector_P.double().norm())])


def _as_stored(value: Tensor) -> Tensor:
    """Rounded to the float32 of the column. What overflows there is infinite here too, and so counts as diverged."""
    return value.float().double()


def _mean(value_N: Tensor, mask_N: Tensor) -> Tensor:
    """Mean over the masked entries only: an infinite loss outside the mask must not leak in as 0 * inf."""
    return torch.where(mask_N, value_N, 0.0).sum() / mask_N.sum()
