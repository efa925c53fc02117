"""What a network draws at random in a training step: dropout, from the run's counter."""

from typing import NamedTuple

from torch import Tensor

from trainers.philox import keep_mask


class Draws(NamedTuple):
    key_2: Tensor
    step: Tensor
    drop: Tensor
    """Probability of dropping a unit; data of the lane."""

    def dropout(self, x: Tensor, tag: int) -> Tensor:
        """Drop units of x (B, ...) and scale up the rest. A unit's fate depends on its example's place in the batch,
        not on how many examples of padding follow."""
        kept = keep_mask(self.key_2, self.step, tag, x.numel(), self.drop).view(x.shape)
        return x * kept / (1 - self.drop)
