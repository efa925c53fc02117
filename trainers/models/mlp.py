"""A multilayer perceptron on images: hidden layers with ReLU, then a linear one (Omnigrok 2022; Fan et al. 2024).

B examples, T pixels, K outputs.
"""

import torch.nn.functional as F
from torch import Tensor

from trainers.config import RunConfig
from trainers.models.draws import Draws


def forward(weights: dict[str, Tensor], inputs_BT: Tensor, config: RunConfig, draws: Draws | None) -> Tensor:
    """(B, K) outputs. There is no exact shortcut to take: the textbook form is the fast one."""
    x = inputs_BT
    for layer in range(config.depth + 1):
        x = F.linear(x, weights[f"layers.{layer}.weight"], weights.get(f"layers.{layer}.bias"))
        if layer < config.depth:
            x = F.relu(x)
            x = x if draws is None else draws.dropout(x, tag=layer)
    return x
