"""The parameters of one run by name and in their shapes, cut from its flat vector. P parameters."""

from collections.abc import Sequence

import torch
from torch import Tensor

from trainers.config import RunConfig
from trainers.models import layout


def named(parts: Sequence[Tensor], config: RunConfig) -> dict[str, Tensor]:
    """`parts` is the vector (P,), whole or cut into its parameters. `layout.named` does the same for numpy."""
    # One split, not a slice for each: its gradient is one concatenation.
    pieces = parts if len(parts) > 1 else torch.split(parts[0], layout.sizes(config))
    return {p.name: piece.reshape(p.shape) for p, piece in zip(layout.parameters(config), pieces, strict=True)}
