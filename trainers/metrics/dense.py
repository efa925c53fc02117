"""The metrics of every row, from one pass over the whole table.

All are of the parameters after `step` updates, without dropout, over the complete sets: `train_*` over the training
examples with the labels that were trained on (noise included), `val_*` over every other example of the table (of
images: over those for validation). So accuracies are counts over counts, train and validation are of the same instant,
and nothing is a running mean. `param_norm` is the Euclidean norm of all parameters together, the quantity that falls
when weight decay trades memorization for a circuit (Huang et al. 2024, fig. 9). Where the loss is not a number, neither
is the accuracy: an argmax over NaN would name a class. A regression that nobody gave a `right_within` has no accuracy:
NaN here, null in the tables. What else `metrics:` of a spec may name is in `catalog`; it is computed in the same pass,
from the same outputs.

Of sequences with several labels an accuracy is the share of tokens that are right, which has a level of chance as other
accuracies have; `val_answer_accuracy` is that of whole answers. Of infinite data `train_*` are over the examples that
the next step trains on, and `val_*` over a fixed sample.

N examples of the table, T operands, C classes, K outputs, P parameters, S subsets. Labels of sequences that have
several have one more axis, of places.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from trainers import interface, own_code
from trainers.config import RunConfig
from trainers.losses import is_right, loss_per_example
from trainers.metrics import catalog
from trainers.models import layout
from trainers.models.named import named
from trainers.tasks.shapes import has_accuracy, n_answer_tokens

Forward = Callable[[Tensor, Tensor], Tensor]


class Seen(NamedTuple):
    """One run at one step, as metrics see it."""

    vector_P: Tensor
    right_N: Tensor
    """1 where the prediction is the label, float64; of sequences how many tokens are right."""
    train_N: Tensor
    val_N: Tensor
    """Bool masks, as the subsets are."""
    subsets_SN: Tensor
    """In the order of catalog.subsets_wanted."""
    losses: dict[str, Tensor]
    """Of "train" and "val"."""
    loss_normalized_N: Tensor | None
    """If a metric asks for it."""
    own: Callable[[str], Tensor]
    """A metric of the user's code, by its name."""


def measure(
    forward: Forward,
    vector_P: Tensor,
    inputs_NT: Tensor,
    labels_N: Tensor,
    train_N: Tensor,
    val_N: Tensor,
    subsets_SN: Tensor,
    targets_CK: Tensor,
    config: RunConfig,
) -> Tensor:
    """(5 and more,) float64 of one run: trace.DENSE_METRICS, then what config.metrics names."""
    outputs_NK = forward(vector_P, inputs_NT)
    has_answers = labels_N.dim() == 2
    loss_N = loss_per_example(outputs_NK, labels_N if has_answers else labels_N.clamp(min=0), targets_CK, config)
    is_right_N = is_right(outputs_NK, labels_N, targets_CK, config)
    right_N = is_right_N.sum(1).double() if has_answers else is_right_N.double()
    losses = [_as_stored(_mean(loss_N.double(), mask)) for mask in (train_N, val_N)]
    accuracies = [_share_right(right_N, mask, config) for mask in (train_N, val_N)]
    accuracies = [_known_where(loss, value) for loss, value in zip(losses, accuracies, strict=True)]
    if not has_accuracy(config):
        accuracies = [torch.full_like(loss, torch.nan) for loss in losses]
    names = catalog.chosen(config.metrics)
    is_normalized = any(name.endswith("_loss_normalized") for name in names)
    seen = Seen(
        vector_P=vector_P,
        right_N=right_N,
        train_N=train_N,
        val_N=val_N,
        subsets_SN=subsets_SN,
        losses=dict(zip(("train", "val"), losses, strict=True)),
        loss_normalized_N=_loss_normalized(outputs_NK, labels_N, targets_CK, config) if is_normalized else None,
        own=lambda name: own_metric(
            name,
            interface.Seen(
                params=named((vector_P,), config),
                inputs=inputs_NT,
                logits=outputs_NK,
                targets=F.embedding(labels_N, targets_CK) if config.n_outputs else labels_N,
                is_train=train_N,
                is_val=val_N,
                config=own_code.Shared(config),
            ),
            config,
        ),
    )
    further = [_further(name, seen, config) for name in names]
    return torch.stack([*losses, *accuracies, _as_stored(vector_P.double().norm()), *further])


def _further(name: str, seen: Seen, config: RunConfig) -> Tensor:
    """A metric of the catalog; NaN if the run does not have it."""
    subset = catalog.subset_of(name)
    if subset is not None:
        return _subset_accuracy(*subset, seen, config)
    if name in catalog.own_of(config):
        return seen.own(name)
    if not catalog.DENSE[name].applies(config):
        return torch.full_like(seen.losses["train"], torch.nan)
    if name.endswith("_norm"):
        return _group_norm(name.removesuffix("_norm"), seen, config)
    return FURTHER[name](seen, config)


def own_metric(name: str, seen: interface.Seen, config: RunConfig) -> Tensor:
    """A metric of the user's code. Raises CodeError."""
    value = own_code.call(config.code_sha256, name, seen)
    number = torch.as_tensor(value) if isinstance(value, Tensor | float | int) else None
    if number is None or number.dim() or number.is_complex():
        given = f"a {type(value).__name__}" if number is None else f"a tensor of shape {tuple(number.shape)}"
        raise own_code.wrong(config.code_sha256, name, f"gave {given}; a metric is one number")
    return _as_stored(number.to(seen.logits.device))


def _subset_accuracy(part: str, subset: str, seen: Seen, config: RunConfig) -> Tensor:
    """NaN over no examples at all."""
    mask_N = seen.train_N if part == "train" else seen.val_N
    in_subset_N = seen.subsets_SN[catalog.subsets_wanted(config).index(subset)]
    return _known_where(seen.losses[part], _share_right(seen.right_N, mask_N & in_subset_N, config))


def _group_norm(group: str, seen: Seen, config: RunConfig) -> Tensor:
    weights = named((seen.vector_P,), config)
    parts = [weights[parameter.name].reshape(-1) for parameter in catalog.of_group(group, config)]
    return _as_stored(torch.cat(parts).double().norm())


def _loss_normalized(outputs_NK: Tensor, labels_N: Tensor, targets_CK: Tensor, config: RunConfig) -> Tensor:
    # As torch.nn.functional.normalize: logits that are all zero stay so.
    norm_N1 = outputs_NK.norm(dim=-1, keepdim=True).clamp(min=1e-12)
    labels_N = labels_N if labels_N.dim() == 2 else labels_N.clamp(min=0)
    return loss_per_example(outputs_NK / norm_N1, labels_N, targets_CK, config).double()


def _mean_loss_normalized(part: str) -> Callable[[Seen, RunConfig], Tensor]:
    def loss(seen: Seen, config: RunConfig) -> Tensor:
        assert seen.loss_normalized_N is not None
        return _as_stored(_mean(seen.loss_normalized_N, seen.train_N if part == "train" else seen.val_N))

    return loss


def _mean_abs_embedding(seen: Seen, config: RunConfig) -> Tensor:
    return _as_stored(seen.vector_P[: layout.embedding_count(config)].double().abs().mean())


def _full_accuracy(seen: Seen, config: RunConfig) -> Tensor:
    return _known_where(seen.losses["train"], _share_right(seen.right_N, seen.train_N | seen.val_N, config))


def _answer_accuracy(part: str) -> Callable[[Seen, RunConfig], Tensor]:
    def accuracy(seen: Seen, config: RunConfig) -> Tensor:
        mask_N = seen.train_N if part == "train" else seen.val_N
        is_whole_N = seen.right_N == n_answer_tokens(config)
        return _known_where(seen.losses[part], _mean(is_whole_N.double(), mask_N))

    return accuracy


FURTHER: dict[str, Callable[[Seen, RunConfig], Tensor]] = {
    "train_loss_normalized": _mean_loss_normalized("train"),
    "val_loss_normalized": _mean_loss_normalized("val"),
    "mean_abs_embedding": _mean_abs_embedding,
    "full_accuracy": _full_accuracy,
    "train_answer_accuracy": _answer_accuracy("train"),
    "val_answer_accuracy": _answer_accuracy("val"),
}
"""Of those in the catalog all but norms."""


def _known_where(loss: Tensor, accuracy: Tensor) -> Tensor:
    return torch.where(loss.isnan(), loss, accuracy)


def _as_stored(value: Tensor) -> Tensor:
    """Rounded to the float32 of the column. What overflows there is infinite here too, and so counts as diverged."""
    return value.float().double()


def _share_right(right_N: Tensor, mask_N: Tensor, config: RunConfig) -> Tensor:
    """Of tokens: a count over a count, as of examples."""
    n_tokens = n_answer_tokens(config)
    n_right = torch.where(mask_N, right_N, 0.0).sum()
    return n_right / mask_N.sum() if n_tokens == 1 else n_right / (n_tokens * mask_N.sum())


def _mean(value_N: Tensor, mask_N: Tensor) -> Tensor:
    """Mean over the masked entries only: an infinite loss outside the mask must not leak in as 0 * inf."""
    return torch.where(mask_N, value_N, 0.0).sum() / mask_N.sum()
