"""Losses and predictions of one run. B examples, C classes, K outputs, P parameters."""

import torch
import torch.nn.functional as F
from torch import Tensor

from trainers.config import RunConfig


def loss_per_example(outputs_BK: Tensor, labels_B: Tensor, targets_CK: Tensor, config: RunConfig) -> Tensor:
    """(B,) in the spec's loss dtype. Cross-entropy in nats; mse is the mean over the K outputs, as torch's MSELoss."""
    outputs_BK = outputs_BK.to(getattr(torch, config.loss_dtype))
    if config.loss == "mse":
        return (outputs_BK - F.embedding(labels_B, targets_CK)).square().mean(-1)
    return -outputs_BK.log_softmax(-1).gather(-1, labels_B[:, None])[:, 0]


def predictions(outputs_BK: Tensor, targets_CK: Tensor, config: RunConfig) -> Tensor:
    """(B,) the class of the largest logit; for mse of the nearest target vector."""
    if config.loss == "mse":
        outputs_BK = 2 * outputs_BK @ targets_CK.T - targets_CK.square().sum(-1)
    return outputs_BK.argmax(-1)
