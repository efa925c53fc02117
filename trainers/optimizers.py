"""AdamW, Adam and SGD over lanes: every hyperparameter is data of the lane.

One flat buffer a lane, so that a step is a few operations whatever the number of layers. The formulas and their order
are torch.optim's, to which a test holds them; bias corrections are computed in float64, as torch does in Python floats.
L lanes, P parameters of a lane.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from trainers.config import RunConfig


class Factors(NamedTuple):
    """What a step multiplies with, each (L, 1) in the dtype of the parameters; pairs are (embedding, the rest)."""

    step: tuple[Tensor, Tensor]
    """Of the direction: the negative learning rate, with Adam's bias corrections."""
    keep: tuple[Tensor, Tensor]
    """Of the parameters under decoupled decay."""
    weight_decay: tuple[Tensor, Tensor]
    first: Tensor
    """1 - beta1"""
    beta2: Tensor
    second: Tensor
    """1 - beta2"""
    eps: Tensor
    momentum: Tensor


@dataclass(frozen=True)
class Moments:
    first_LP: Tensor
    """Adam's first moment; SGD's momentum buffer."""
    second_LP: Tensor
    """Adam's second moment; empty for SGD."""


HYPERPARAMETER_NAMES = (
    "embedding_learning_rate", "learning_rate", "embedding_weight_decay", "weight_decay",
    "beta1", "beta2", "eps", "momentum", "warmup_steps",
)  # fmt: skip


def hyperparameter_row(config: RunConfig) -> list[float]:
    """A lane's hyperparameters in the order of HYPERPARAMETER_NAMES; an embedding without its own takes the rest's."""
    values = config.model_dump(include=set(HYPERPARAMETER_NAMES))
    for name in ("learning_rate", "weight_decay"):
        if values[f"embedding_{name}"] is None:
            values[f"embedding_{name}"] = values[name]
    return [float(values[name]) for name in HYPERPARAMETER_NAMES]


def factors(kind: str, rows_LH: Tensor, step_L: Tensor, dtype: torch.dtype) -> Factors:
    """Of the step that makes the number of updates step_L, which counts from 1 and may differ between lanes. Computed
    in float64, and stacked: compiled code would otherwise raise to powers anew at every parameter."""
    rates, decays, (beta1, beta2, eps, momentum, warmup_steps) = (
        rows_LH[:, :2].unbind(1), rows_LH[:, 2:4].unbind(1), rows_LH[:, 4:].unbind(1)
    )  # fmt: skip
    steps = step_L.double()
    warmup = torch.where(warmup_steps > 0, (steps / warmup_steps.clamp(min=1)).clamp(max=1), 1.0)
    correction1, correction2 = 1 - beta1**steps, (1 - beta2**steps).sqrt()
    correction = torch.ones_like(steps) if kind == "sgd" else correction2 / correction1
    columns = [
        *(-rate * warmup * correction for rate in rates),
        *(1 - rate * warmup * decay for rate, decay in zip(rates, decays, strict=True)),
        *decays,
        *(1 - beta1, beta2, 1 - beta2, eps * correction2, momentum),
    ]
    found = torch.stack(columns, 1).to(dtype).split(1, dim=1)
    return Factors((found[0], found[1]), (found[2], found[3]), (found[4], found[5]), *found[6:])


def update_(
    kind: str,
    parameters_LP: Tensor,
    gradients_LP: Tensor,
    moments: Moments,
    factors: Factors,
    n_embedding: int,
) -> None:
    """One step in place, of the whole flat vectors or of a part of them."""
    sizes = (n_embedding, parameters_LP.shape[1] - n_embedding)
    # A view of the whole would be written back as a part: only where there are both is there anything to split.
    groups = [group for group, size in enumerate(sizes) if size]

    def split(buffer_LP: Tensor) -> tuple[Tensor, ...]:
        return torch.split(buffer_LP, list(sizes), 1) if len(groups) > 1 else (buffer_LP,)

    parts = split(parameters_LP)
    for group, part, gradient in zip(groups, parts, split(gradients_LP), strict=True):
        if kind == "adamw":
            part.mul_(factors.keep[group])
        else:
            gradient.addcmul_(part, factors.weight_decay[group])
    if kind == "sgd":
        moments.first_LP.mul_(factors.momentum).add_(gradients_LP)
        direction_LP = moments.first_LP
    else:
        direction_LP = _adam_(gradients_LP, moments, factors)
    for group, part, direction in zip(groups, parts, split(direction_LP), strict=True):
        part.addcmul_(direction, factors.step[group])


def _adam_(gradients_LP: Tensor, moments: Moments, factors: Factors) -> Tensor:
    """p -= rate / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + eps), numerator and denominator both multiplied by
    sqrt(1 - beta2^t) to save a pass over the buffer. Moments in place; returns m over the denominator."""
    moments.first_LP.lerp_(gradients_LP, factors.first.expand_as(gradients_LP))
    moments.second_LP.mul_(factors.beta2).addcmul_(gradients_LP * factors.second, gradients_LP)
    return moments.first_LP / moments.second_LP.sqrt().add_(factors.eps)
