"""Which examples a step sees.

The full set: the same padded lists at every step, gathered once. Minibatches: an epoch is a random order of the
training set, cut into batches, a short last one dropped; the order is a function of (run, epoch), so there is nothing
to restore.

L lanes, B examples of a batch, D longest train set, T operands or pixels.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from trainers.config import RunConfig
from trainers.lanes import Lanes
from trainers.philox import permutation

ORDER_TAG = 1_000_000
"""Tag of the batch order among a run's draws; far above the tags that a network's layers use."""


class Batch(NamedTuple):
    inputs_LBT: Tensor
    labels_LB: Tensor
    weight_LB: Tensor


class Batches:
    """Batches of the runs now in the lanes; made anew after every refill."""

    def __init__(self, lanes: Lanes, configs: Sequence[RunConfig | None], steps_done: Sequence[int]) -> None:
        self.lanes = lanes
        self.size = next((c.batch_size for c in configs if c is not None and not c.is_full_batch), None)
        if self.size is None:
            self.full = _gather(lanes, lanes.train_LD, lanes.weight_LD)
            return
        # An idle lane has no epochs (0): it sees the start of its list at every step.
        self.steps_per_epoch = [c.train_size // self.size if c is not None else 0 for c in configs]
        self.order_LD = torch.zeros_like(lanes.train_LD)
        self.weight_LB = torch.full((len(configs), self.size), 1 / self.size, device=lanes.device)
        self._shuffle([lane for lane, per in enumerate(self.steps_per_epoch) if per], steps_done)

    def at(self, steps_done: Sequence[int]) -> Batch:
        """The batch of each lane's next step."""
        if self.size is None:
            return self.full
        at = list(zip(steps_done, self.steps_per_epoch, strict=True))
        self._shuffle([lane for lane, (done, per) in enumerate(at) if per and done % per == 0], steps_done)
        first = [done % (per or 1) * self.size for done, per in at]
        slots_L1 = torch.tensor(first, device=self.lanes.device)[:, None]
        slots_LB = slots_L1 + torch.arange(self.size, device=self.lanes.device)
        return _gather(self.lanes, self.lanes.train_LD.gather(1, self.order_LD.gather(1, slots_LB)), self.weight_LB)

    def _shuffle(self, which: list[int], steps_done: Sequence[int]) -> None:
        if not which:
            return
        epochs = [steps_done[lane] // (self.steps_per_epoch[lane] or 1) for lane in which]
        epoch_L = torch.tensor(epochs, device=self.lanes.device)
        valid_LD = self.lanes.weight_LD[which] > 0
        self.order_LD[which] = permutation(self.lanes.key_L2[which], epoch_L, valid_LD, ORDER_TAG)


def _gather(lanes: Lanes, chosen_LB: Tensor, weight_LB: Tensor) -> Batch:
    return Batch(lanes.inputs(chosen_LB), lanes.labels_LN.gather(1, chosen_LB), weight_LB)
