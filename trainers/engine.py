"""From functions of one run to programs over lanes.

A loss is written for one run; `vmap(grad_and_value(loss))` adds the lane axis. vmap costs Python time at every
operation, so the step is traced once to a graph of plain tensor operations (make_fx) that is then run as it is (eager,
and plain, which differs in the forward pass) or compiled (torch.compile). Nothing here has state but the programs
already traced.

L lanes, B examples of a batch, P parameters, T operands, C classes, K outputs, H hyperparameters.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import torch
import torch.utils.deterministic
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
from trainers.trace import Engine, PackSettings

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
MOST_PROGRAMS = 64
"""Of steps, and of evaluations, that a process remembers."""
Program = TypeVar("Program")


def prepare(settings: PackSettings) -> None:
    """Set what this process computes with, before its first step."""
    torch.set_num_threads(settings.threads)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # The gradient of a gather adds in any order otherwise, and grokking amplifies the last bit.
    is_parallel = settings.device == "cuda" or settings.threads > 1
    torch.use_deterministic_algorithms(is_parallel, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def make_step(lanes: Lanes, batch: Batch, config: RunConfig, engine: Engine) -> Step:
    """One optimizer step of every lane, in place. `config` is any of the pack's: only what they share matters."""
    key = (shape_key(config), engine, _signature(_arguments(lanes, batch)))
    return _remembered(_STEPS, key, lambda: _trace(lanes, batch, config, engine))


def _signature(tensors: Iterable[Tensor]) -> tuple[Any, ...]:
    return tuple((tensor.shape, tensor.dtype, tensor.device) for tensor in tensors)


def _remembered(programs: dict[Any, Program], key: Any, make: Callable[[], Program]) -> Program:
    """The program of this key; the one that was not asked for longest is forgotten."""
    program = programs.pop(key) if key in programs else make()
    programs[key] = program
    if len(programs) > MOST_PROGRAMS:
        programs.pop(next(iter(programs)))
    return program


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

_EVALUATIONS: dict[tuple[Any, ...], Callable[..., Tensor]] = {}


def evaluate(lanes: Lanes, which: list[int], config: RunConfig, engine: Engine) -> Tensor:
    """(len(which), 5) float64 metrics of these lanes, in the order of trace.DENSE_METRICS."""
    most = max(1, EVALUATION_BYTES // (4 * layout.widest(config) * lanes.n_evaluated))
    found = []
    with torch.no_grad():
        for group in _groups(which, most):
            chosen = torch.tensor(group, device=lanes.device)
            arguments = (lanes.parameters_LP[chosen], lanes.targets_LCK[chosen], *lanes.examples(chosen))
            found.append(_evaluation(arguments, config, engine)(*arguments))
    return torch.cat(found)


def _groups(which: list[int], most: int) -> Iterator[list[int]]:
    """Lanes due at one time, in groups of 1, 2, 4, ... at most `most`: each size is a program of its own, and lanes
    that are out of step would ask for every size."""
    start = 0
    while start < len(which):
        size = 1 << (min(most, len(which) - start).bit_length() - 1)
        yield which[start : start + size]
        start += size


def _evaluation(arguments: tuple[Tensor, ...], config: RunConfig, engine: Engine) -> Callable[..., Tensor]:
    """A traced program: vmap would cost Python time at every operation of every evaluation."""

    def trace() -> Callable[..., Tensor]:
        apply = network(config, engine)

        def of_run(
            vector_P: Tensor, targets_CK: Tensor, inputs_ET: Tensor, labels_E: Tensor, train_E: Tensor, val_E: Tensor
        ) -> Tensor:
            forward = lambda vector, inputs: apply(vector, inputs, None)  # noqa: E731
            return measure(forward, vector_P, inputs_ET, labels_E, train_E, val_E, targets_CK, config)

        inputs_axis = None if arguments[2].dim() == 2 else 0
        graph = make_fx(vmap(of_run, (0, 0, inputs_axis, 0, 0, 0)))(*arguments)
        return torch.compile(graph, dynamic=False) if engine == "compiled" else graph

    return _remembered(_EVALUATIONS, (shape_key(config), engine, _signature(arguments)), trace)
