"""From functions of one run to programs over lanes.

A loss is written for one run; `vmap(grad_and_value(loss))` adds the lane axis. vmap costs Python time at every
operation, so the step is traced once to a graph of plain tensor operations (make_fx) that is then run as it is (eager,
and plain, which differs in the forward pass) or compiled (torch.compile). Nothing here has state but the programs
already traced.

L lanes, B examples of a batch, P parameters, T operands, C classes, K outputs, H hyperparameters.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.func import grad_and_value, vmap
from torch.fx.experimental.proxy_tensor import make_fx

from trainers.batches import Batch
from trainers.config import RunConfig, shape_key
from trainers.lanes import Lanes
from trainers.losses import loss_per_example
from trainers.metrics.dense import measure
from trainers.models import layout, mlp, toy, transformer
from trainers.models.draws import Draws
from trainers.optimizers import Moments, unpack, update_
from trainers.trace import Engine

FORWARDS = {
    "transformer": {"plain": transformer.forward_plain, "fast": transformer.forward},
    "toy": {"plain": toy.forward, "fast": toy.forward},
    "mlp": {"plain": mlp.forward, "fast": mlp.forward},
}

Step = Callable[[Lanes, Batch], None]


def network(config: RunConfig, engine: Engine) -> Callable[[Tensor, Tensor, Draws | None], Tensor]:
    """outputs_BK of one run from its flat vector (P,) and inputs (B, T)."""
    forward = FORWARDS[config.model]["plain" if engine == "plain" else "fast"]
    parameters = layout.parameters(config)
    sizes = [torch.Size(parameter.shape).numel() for parameter in parameters]

    def apply(vector_P: Tensor, inputs_BT: Tensor, draws: Draws | None) -> Tensor:
        # One split, not a slice for each: its gradient is one concatenation.
        pieces = zip(parameters, torch.split(vector_P, sizes), strict=True)
        return forward({p.name: piece.view(p.shape) for p, piece in pieces}, inputs_BT, config, draws)

    return apply


def loss_of_run(config: RunConfig, engine: Engine) -> Callable[..., Tensor]:
    """Mean training loss of one run over a (padded) batch."""
    apply = network(config, engine)

    def loss(
        vector_P: Tensor, inputs_BT: Tensor, labels_B: Tensor, weight_B: Tensor, targets_CK: Tensor,
        key_2: Tensor, step: Tensor, drop: Tensor,
    ) -> Tensor:  # fmt: skip
        draws = Draws(key_2, step, drop) if config.dropout else None
        outputs_BK = apply(vector_P, inputs_BT, draws)
        return (loss_per_example(outputs_BK, labels_B, targets_CK, config) * weight_B).sum()

    return loss


_STEPS: dict[tuple[Any, ...], Step] = {}
"""Tracing takes a second and compiling many, so packs of equal shapes in one process share a program."""


def make_step(lanes: Lanes, batch: Batch, config: RunConfig, engine: Engine) -> Step:
    """One optimizer step of every lane, in place. `config` is any of the pack's: only what they share matters."""
    signature = tuple((tensor.shape, tensor.dtype, tensor.device) for tensor in _arguments(lanes, batch))
    key = (shape_key(config), engine, signature)
    if key not in _STEPS:
        _STEPS[key] = _trace(lanes, batch, config, engine)
    return _STEPS[key]


def _trace(lanes: Lanes, batch: Batch, config: RunConfig, engine: Engine) -> Step:
    gradient = vmap(grad_and_value(loss_of_run(config, engine)))
    n_embedding = layout.embedding_count(config)

    def step(
        parameters_LP: Tensor, first_LP: Tensor, second_LP: Tensor, step_L: Tensor, first_bad_L: Tensor,
        hyper_LH: Tensor, drop_L: Tensor, key_L2: Tensor, targets_LCK: Tensor,
        inputs_LBT: Tensor, labels_LB: Tensor, weight_LB: Tensor,
    ) -> None:  # fmt: skip
        gradients_LP, loss_L = gradient(
            parameters_LP, inputs_LBT, labels_LB, weight_LB, targets_LCK, key_L2, step_L, drop_L
        )
        is_first_bad_L = (first_bad_L < 0) & ~loss_L.isfinite()
        first_bad_L.copy_(torch.where(is_first_bad_L, step_L, first_bad_L))
        step_L.add_(1)
        moments = Moments(first_LP, second_LP)
        update_(config.optimizer, parameters_LP, gradients_LP, moments, step_L, unpack(hyper_LH), n_embedding)

    # Tracing runs the step once, in place: on copies.
    graph = make_fx(step)(*(tensor.clone() for tensor in _arguments(lanes, batch)))
    graph.graph.eliminate_dead_code()
    graph.recompile()
    program: Callable[..., Any] = torch.compile(graph, dynamic=False) if engine == "compiled" else graph

    def run(lanes: Lanes, batch: Batch) -> None:
        with torch.no_grad():
            program(*_arguments(lanes, batch))

    return run


def _arguments(lanes: Lanes, batch: Batch) -> tuple[Tensor, ...]:
    return (
        lanes.parameters_LP, lanes.moments.first_LP, lanes.moments.second_LP, lanes.step_L, lanes.first_bad_L,
        lanes.hyper_LH, lanes.drop_L, lanes.key_L2, lanes.targets_LCK, *batch,
    )  # fmt: skip


EVALUATION_BYTES = 64 * 2**20
"""Lanes are evaluated in groups whose hidden activations over the whole table stay below this."""


def evaluate(lanes: Lanes, which: list[int], config: RunConfig, engine: Engine) -> Tensor:
    """(len(which), 5) float64 metrics of these lanes, in the order of trace.DENSE_METRICS."""
    apply = network(config, engine)

    def of_run(
        vector_P: Tensor, targets_CK: Tensor, inputs_ET: Tensor, labels_E: Tensor, train_E: Tensor, val_E: Tensor
    ) -> Tensor:
        forward = lambda vector, inputs: apply(vector, inputs, None)  # noqa: E731
        return measure(forward, vector_P, inputs_ET, labels_E, train_E, val_E, targets_CK, config)

    group = max(1, EVALUATION_BYTES // (4 * layout.widest(config) * lanes.n_evaluated))
    found = []
    with torch.no_grad():
        for start in range(0, len(which), group):
            chosen = torch.tensor(which[start : start + group], device=lanes.device)
            examples = lanes.examples(chosen)
            shared = None if examples.inputs.dim() == 2 else 0
            in_dims = (0, 0, shared, 0, 0, 0)
            found.append(vmap(of_run, in_dims)(lanes.parameters_LP[chosen], lanes.targets_LCK[chosen], *examples))
    return torch.cat(found)
