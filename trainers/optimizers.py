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


class Hyperparameters(NamedTuple):
    """Each (L, 1), float64; learning rate and decay as (embedding, everything else)."""

    learning_rate: tuple[Tensor, Tensor]
    weight_decay: tuple[Tensor, Tensor]
    beta1: Tensor
    beta2: Tensor
    eps: Tensor
    momentum: Tensor
    warmup_steps: Tensor


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


def unpack(rows_LH: Tensor) -> Hyperparameters:
    columns = torch.split(rows_LH, 1, dim=1)
    return Hyperparameters((columns[0], columns[1]), (columns[2], columns[3]), *columns[4:])


def update_(
    kind: str,
    parameters_LP: Tensor,
    gradients_LP: Tensor,
    moments: Moments,
    step_L: Tensor,
    hyper: Hyperparameters,
    n_embedding: int,
) -> None:
    """One step in place. step_L counts from 1 and may differ between lanes."""
    step_L1 = step_L[:, None].double()
    warmup = torch.where(hyper.warmup_steps > 0, (step_L1 / hyper.warmup_steps.clamp(min=1)).clamp(max=1), 1.0)
    sizes = [n_embedding, parameters_LP.shape[1] - n_embedding]
    parts = torch.split(parameters_LP, sizes, 1)
    rates = [rate * warmup for rate in hyper.learning_rate]
    if kind == "adamw":
        for part, rate, decay in zip(parts, rates, hyper.weight_decay, strict=True):
            part.mul_((1 - rate * decay).to(part.dtype))
    else:
        for part, gradient, decay in zip(parts, torch.split(gradients_LP, sizes, 1), hyper.weight_decay, strict=True):
            gradient.addcmul_(part, decay.to(part.dtype))
    if kind == "sgd":
        moments.first_LP.mul_(hyper.momentum.to(gradients_LP.dtype)).add_(gradients_LP)
        for part, rate, velocity in zip(parts, rates, torch.split(moments.first_LP, sizes, 1), strict=True):
            part.addcmul_(velocity, -rate.to(part.dtype))
        return
    _adam_(parts, gradients_LP, moments, step_L1, rates, hyper, sizes)


def _adam_(
    parts: tuple[Tensor, ...],
    gradients_LP: Tensor,
    moments: Moments,
    step_L1: Tensor,
    rates: list[Tensor],
    hyper: Hyperparameters,
    sizes: list[int],
) -> None:
    """p -= rate / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + eps), numerator and denominator both multiplied by
    sqrt(1 - beta2^t) to save a pass over the buffer."""
    dtype = gradients_LP.dtype
    correction1, correction2 = 1 - hyper.beta1**step_L1, (1 - hyper.beta2**step_L1).sqrt()
    moments.first_LP.lerp_(gradients_LP, (1 - hyper.beta1).to(dtype).expand_as(gradients_LP))
    moments.second_LP.mul_(hyper.beta2.to(dtype)).addcmul_(gradients_LP * (1 - hyper.beta2).to(dtype), gradients_LP)
    denominator = moments.second_LP.sqrt().add_((hyper.eps * correction2).to(dtype))
    ratio = moments.first_LP / denominator
    for part, rate, quotient in zip(parts, rates, torch.split(ratio, sizes, 1), strict=True):
        part.addcmul_(quotient, (-rate * correction2 / correction1).to(dtype))
