"""From functions of one run to programs over lanes.

A loss is written for one run; `vmap(grad_and_value(loss))` adds the lane axis. vmap costs Python time at every
operation, so the step is traced once to a graph of plain tensor operations (make_fx) that is then run as it is (eager,
and plain, which differs in the forward pass) or compiled (torch.compile). Nothing here has state but the programs
already traced.

L lanes, B examples of a batch, P parameters, T operands, C classes, K outputs, H hyperparameters.
"""

import itertools
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple, TypeVar

import torch
import torch.utils.deterministic
import torch.utils.dlpack
from torch import Tensor
from torch.func import grad_and_value, vmap
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._pytree import tree_leaves, tree_map

from trainers import own_code, replay
from trainers.batches import Batch
from trainers.config import RunConfig, shape_key
from trainers.cost import EVALUATION_BYTES
from trainers.freed import keep_freed_memory
from trainers.lanes import Lanes
from trainers.losses import loss_per_example
from trainers.metrics.dense import measure
from trainers.metrics.measures import Reading, Run, take
from trainers.models import layout, mlp, own_model, toy, transformer
from trainers.models.draws import Draws
from trainers.models.named import named
from trainers.optimizers import Moments, clip_, factors, hold_norm_, hyperparameter, update_
from trainers.philox import normal
from trainers.replay import Step
from trainers.trace import Engine, PackSettings

FORWARDS: dict[str, dict[str, Callable[..., Tensor]]] = {
    "transformer": {"plain": transformer.forward_plain, "fast": transformer.forward},
    "toy": {"plain": toy.forward, "fast": toy.forward},
    "mlp": {"plain": mlp.forward_plain, "fast": mlp.forward},
    "code": {"plain": own_model.forward, "fast": own_model.forward},
}

WEIGHT_NOISE_TAG, GRADIENT_NOISE_TAG = 2_000_000, 3_000_000
"""Among a run's draws; far above the tags that a network's layers use."""


def network(config: RunConfig, engine: Engine) -> Callable[[Sequence[Tensor], Tensor, Draws | None], Tensor]:
    """outputs_BK of one run from its flat vector (P,), whole or cut into its parameters, and inputs (B, T)."""
    forward = FORWARDS[config.model]["plain" if engine == "plain" else "fast"]

    def apply(parts: Sequence[Tensor], inputs_BT: Tensor, draws: Draws | None) -> Tensor:
        return forward(named(parts, config), inputs_BT, config, draws)

    return apply


def loss_of_run(config: RunConfig, engine: Engine) -> Callable[..., Tensor]:
    """What a step of one run minimizes: the mean training loss over a (padded) batch, and penalties."""
    apply = network(config, engine)
    n_embedding = layout.embedding_count(config)

    def loss(
        parts: tuple[Tensor, ...], inputs_BT: Tensor, labels_B: Tensor, weight_B: Tensor, targets_CK: Tensor,
        key_2: Tensor, step: Tensor, drop: Tensor, hyper_H: Tensor,
    ) -> Tensor:  # fmt: skip
        draws = Draws(key_2, step, drop) if config.dropout else None
        used = _noised(parts, key_2, step, hyperparameter(hyper_H, "weight_noise")) if config.weight_noise else parts
        outputs_BK = apply(used, inputs_BT, draws)
        mean = (loss_per_example(outputs_BK, labels_B, targets_CK, config) * weight_B).sum()
        if config.embedding_penalty:
            factor = hyperparameter(hyper_H, "embedding_penalty").to(mean.dtype)
            mean = mean + factor * parts[0][:n_embedding].abs().mean()
        return mean

    return loss


def _noised(parts: tuple[Tensor, ...], key_2: Tensor, step: Tensor, deviation: Tensor) -> tuple[Tensor, ...]:
    noises = _noise(parts, key_2, step, WEIGHT_NOISE_TAG)
    return tuple(part + (deviation * noise).to(part.dtype) for part, noise in zip(parts, noises, strict=True))


def _noise(parts: Sequence[Tensor], key: Tensor, step: Tensor, tag: int) -> Iterator[Tensor]:
    """Numbers from N(0, 1), one a parameter, the same however the flat vector is cut. Of one run, or of all lanes."""
    start = 0
    for part in parts:
        size = part.shape[-1]
        yield normal(key, step, tag, size, start)
        start += size


_STEPS: dict[tuple[Any, ...], Callable[..., Any]] = {}
"""Tracing takes a second and compiling many, so packs of equal shapes in one process share a program."""
MOST_PROGRAMS = 64
"""Of steps, and of evaluations, that a process remembers."""
Program = TypeVar("Program")


def prepare(settings: PackSettings) -> None:
    """Set what this process computes with, before its first step."""
    keep_freed_memory()
    torch.set_num_threads(settings.threads)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # The gradient of a gather adds in any order otherwise, and grokking amplifies the last bit.
    is_parallel = settings.device == "cuda" or settings.threads > 1
    torch.use_deterministic_algorithms(is_parallel, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    # Products of float32 stay such; the compiler need not tell users of what that costs.
    warnings.filterwarnings("ignore", message="TensorFloat32 tensor cores")


def make_step(lanes: Lanes, batch: Batch, config: RunConfig, engine: Engine) -> Step:
    """One optimizer step of these lanes, in place. `config` is any of the pack's: only what they share matters."""
    sizes = _sizes_of_parts(config, engine)
    key = (shape_key(config), engine, _signature((lanes.parameters_LP, lanes.targets_LCK, *batch)))
    program = _remembered(_STEPS, key, lambda: _trace(lanes.copied(), batch, sizes, config, engine))

    def on(lanes: Lanes) -> Step:
        held = _arguments(lanes, sizes)

        def step(batch: Batch) -> None:
            with torch.no_grad():
                program(*held, batch)

        return step

    # A network of the user's may look at values, or meet the CPU: a recording would repeat what it did the first time.
    if lanes.device.type == "cuda" and engine != "plain" and config.model != "code":
        return replay.recorded(on(lanes), on(lanes.copied()), batch)
    return on(lanes)


def wait(lanes: Lanes) -> None:
    """Until what was asked for is computed: a GPU works while Python goes on."""
    if lanes.device.type == "cuda":
        torch.cuda.synchronize()


def _signature(tensors: Iterable[Tensor]) -> tuple[Any, ...]:
    return tuple((tensor.shape, tensor.dtype, tensor.device) for tensor in tensors)


def _remembered(programs: dict[Any, Program], key: Any, make: Callable[[], Program]) -> Program:
    """The program of this key; the one that was not asked for longest is forgotten."""
    program = programs.pop(key) if key in programs else make()
    programs[key] = program
    if len(programs) > MOST_PROGRAMS:
        programs.pop(next(iter(programs)))
    return program


class State(NamedTuple):
    """What a step changes, in parts."""

    parameters: tuple[Tensor, ...]
    first: tuple[Tensor, ...]
    second: tuple[Tensor, ...]
    step_L: Tensor


class Own(NamedTuple):
    """What a lane's run brings along."""

    hyper_LH: Tensor
    initial: tuple[Tensor, ...]
    """In parts, where weights decay towards it; else empty."""
    norm_L: Tensor
    drop_L: Tensor
    key_L2: Tensor
    targets_LCK: Tensor


def _trace(lanes: Lanes, batch: Batch, sizes: list[int], config: RunConfig, engine: Engine) -> Callable[..., Any]:
    """The program of a step. Tracing runs it once, in place."""
    of_run = grad_and_value(loss_of_run(config, engine))
    try:
        graph = make_fx(_step_of(vmap(of_run), sizes, config))(*_arguments(lanes, sizes), batch)
    except Exception as error:
        return _step_of(one_by_one(of_run, config, error), sizes, config)
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return _compiled(graph) if engine == "compiled" else graph


def _compiled(graph: GraphModule) -> Callable[..., Any]:
    _ask_for_shapes(graph)
    return torch.compile(graph, dynamic=False)


def _ask_for_shapes(graph: GraphModule) -> None:
    """What was traced as a view is asked for as a shape: in the compiler's own account of a graph, and in that of
    tensors without memory, a tensor may lie in another order than it does when run (a product of tensors whose axes are
    permuted otherwise), where the same view would be refused."""
    for node in graph.graph.find_nodes(op="call_function", target=torch.ops.aten.view.default):
        node.target = torch.ops.aten.reshape.default
    graph.recompile()


def _step_of(gradient: Callable[..., Any], sizes: list[int], config: RunConfig) -> Callable[..., None]:
    """An optimizer step of all lanes from the gradients of all lanes, in place."""
    group_sizes = _group_sizes(config, len(sizes) > 1)

    def step(state: State, first_bad_L: Tensor, own: Own, batch: Batch) -> None:
        of_runs = (own.targets_LCK, own.key_L2, state.step_L, own.drop_L, own.hyper_LH)
        gradients, loss_L = gradient(state.parameters, *batch, *of_runs)
        is_first_bad_L = (first_bad_L < 0) & ~loss_L.isfinite()
        first_bad_L.copy_(torch.where(is_first_bad_L, state.step_L, first_bad_L))
        state.step_L.add_(1)
        if config.clip_norm is not None:
            clip_(gradients, hyperparameter(own.hyper_LH, "clip_norm"))
        multiply = factors(config, own.hyper_LH, state.step_L, state.parameters[0].dtype)
        noises: Iterable[Tensor | None] = itertools.repeat(None)
        if config.gradient_noise:
            noises = _noise(state.parameters, own.key_L2, state.step_L, GRADIENT_NOISE_TAG)
        for part, (values_LP, noise_LP) in enumerate(zip(state.parameters, noises, strict=False)):
            update_(
                config,
                values_LP,
                gradients[part],
                Moments(state.first[part], state.second[part]),
                multiply,
                group_sizes[part],
                initial_LP=own.initial[part] if own.initial else None,
                noise_LP=None if noise_LP is None else noise_LP.to(values_LP.dtype),
            )
        if config.fixed_norm:
            hold_norm_(state.parameters, own.norm_L)

    return step


def one_by_one(
    function: Callable[..., Any], config: RunConfig, error: Exception, in_dims: Sequence[int | None] | None = None
) -> Callable[..., Any]:
    """What vmap(function) would be, one lane after the other: for code of the user's that vmap cannot batch, which may
    look at the values of tensors. It is not traced either. `error` is what vmap said; it is raised again where no code
    of the user's is at work, or there is not enough memory."""
    if not own_code.is_loaded(config.code_sha256) or own_code.is_out_of_memory(error):
        raise error

    def over_lanes(*arguments: Any) -> Any:
        dims = [0] * len(arguments) if in_dims is None else in_dims
        n_lanes = next(len(tree_leaves(a)[0]) for a, dim in zip(arguments, dims, strict=True) if dim is not None)
        found = []
        for lane in range(n_lanes):
            own = (
                argument if dim is None else tree_map(lambda tensor, lane=lane: tensor[lane], argument)
                for argument, dim in zip(arguments, dims, strict=True)
            )
            with own_code.blamed(config.code_sha256, "apply"):
                found.append(function(*own))
        return tree_map(lambda *of_lanes: torch.stack(of_lanes), *found)

    return over_lanes


def _sizes_of_parts(config: RunConfig, engine: Engine) -> list[int]:
    """How the flat buffers are cut for a step. A compiled program takes every parameter for itself: concatenating their
    gradients would be its slowest loop (half of a step of Liu's toy). An eager one takes all at once: fewer operations.
    """
    sizes = layout.sizes(config)
    return sizes if engine == "compiled" else [sum(sizes)]


def _group_sizes(config: RunConfig, is_cut: bool) -> list[list[int]]:
    """For each part of the flat vector, how much of it belongs to each of the optimizer's groups."""
    sizes, groups = layout.sizes(config), layout.groups(config)
    each = [[size * (group == own) for group in range(3)] for size, own in zip(sizes, groups, strict=True)]
    return each if is_cut else [[sum(column) for column in zip(*each, strict=True)]]


def _arguments(lanes: Lanes, sizes: list[int]) -> tuple[State, Tensor, Own]:
    moments = lanes.moments
    parameters, first, second = (
        tuple(_parts(buffer_LP, sizes)) for buffer_LP in (lanes.parameters_LP, moments.first_LP, moments.second_LP)
    )
    state = State(parameters, first, second, lanes.step_L)
    initial = tuple(_parts(lanes.initial_LP, sizes)) if lanes.initial_LP.shape[1] else ()
    own = Own(lanes.hyper_LH, initial, lanes.norm_L, lanes.drop_L, lanes.key_L2, lanes.targets_LCK)
    return state, lanes.first_bad_L, own


def _parts(buffer_LP: Tensor, sizes: list[int]) -> Iterator[Tensor]:
    """Columns of a buffer. Where there are several, each says that its memory is its own: of inputs that torch.compile
    knows to be views of one buffer it writes the whole buffer for each that changes."""
    if len(sizes) == 1:
        yield buffer_LP
        return
    for part_LP in torch.split(buffer_LP, sizes if buffer_LP.shape[1] else [0] * len(sizes), 1):
        yield torch.utils.dlpack.from_dlpack(part_LP)


_EVALUATIONS: dict[tuple[Any, ...], Callable[..., Tensor]] = {}


def evaluate(lanes: Lanes, which: list[int], config: RunConfig, engine: Engine) -> Tensor:
    """(len(which), 5 and more) float64 metrics of these lanes: trace.DENSE_METRICS, then what config.metrics names."""
    most = max(1, EVALUATION_BYTES // (lanes.dtype.itemsize * layout.widest(config) * lanes.n_evaluated))
    found = []
    with torch.no_grad():
        for group in _groups(which, most, len(lanes.step_L)):
            chosen = torch.tensor(group, device=lanes.device)
            arguments = (lanes.parameters_LP[chosen], lanes.targets_LCK[chosen], *lanes.examples(chosen))
            found.append(_evaluation(arguments, config, engine)(*arguments))
    return torch.cat(found)


def take_measures(lanes: Lanes, lane: int, config: RunConfig, engine: Engine) -> list[Reading]:
    """What config.measures names, of the run in a lane."""
    chosen = torch.tensor([lane], device=lanes.device)
    examples = lanes.examples(chosen)
    forward = FORWARDS[config.model]["plain" if engine == "plain" else "fast"]
    with torch.no_grad():
        return take(
            Run(
                config=config,
                weights=named((lanes.parameters_LP[lane],), config),
                forward=lambda weights, inputs: forward(dict(weights), inputs, config, None),
                inputs_ET=examples.inputs if examples.inputs.dim() == 2 else examples.inputs[0],
                labels_E=examples.labels_LE[0],
                train_E=examples.is_train_LE[0],
                val_E=examples.is_val_LE[0],
                targets_CK=lanes.targets_LCK[lane],
            )
        )


def _groups(which: list[int], most: int, n_lanes: int) -> Iterator[list[int]]:
    """Lanes due at one time: all at once, as they are while they are in step; else in groups of 1, 2, 4, ... at most
    `most`. Each size is a program of its own, and lanes that are out of step would ask for every size."""
    if len(which) == n_lanes <= most:
        yield which
        return
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
            vector_P: Tensor, targets_CK: Tensor, inputs_ET: Tensor, labels_E: Tensor, train_E: Tensor, val_E: Tensor,
            subsets_SE: Tensor,
        ) -> Tensor:  # fmt: skip
            forward = lambda vector, inputs: apply((vector,), inputs, None)  # noqa: E731
            return measure(forward, vector_P, inputs_ET, labels_E, train_E, val_E, subsets_SE, targets_CK, config)

        in_dims = (0, 0, None if arguments[2].dim() == 2 else 0, 0, 0, 0, 0)
        # Tracing keeps all that it makes, of the whole table: gigabytes, unless nothing lies behind its tensors. Code
        # of the user's may bring tensors of its own.
        mode: Literal["real", "fake"] = "real" if own_code.is_loaded(config.code_sha256) else "fake"
        try:
            graph = make_fx(vmap(of_run, in_dims), tracing_mode=mode)(*arguments)
        except Exception as error:
            return one_by_one(of_run, config, error, in_dims)
        if engine == "compiled":
            return _compiled(graph)
        _ask_for_shapes(graph)
        return graph

    return _remembered(_EVALUATIONS, (shape_key(config), engine, _signature(arguments)), trace)
