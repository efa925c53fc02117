"""What training costs, by formula: the planner cuts packs with it. No torch.

The work of a step is counted in five amounts (`work_of_step`), and a `Speed` says how long a core, or a GPU, needs for
one of each. FLOPs are the useful multiply-adds (two each) of the shortcut forward pass, times three for the gradient;
evaluation is counted in, as so many forward passes over the whole table a step. A run-step is one optimizer step of one
run.

The amounts are rough where they may be: what they must hold is the ratio between shapes. That widths below 8 cost more
than their FLOPs say is dispatch, which lanes share, and the loss over the classes, which does not shrink with width.
"""

import math
from dataclasses import astuple, dataclass
from typing import get_args

from trainers.config import RunConfig
from trainers.metrics import catalog
from trainers.models.layout import combination, embedding_count, n_inputs, n_logits, parameter_count
from trainers.models.sequence import MOST_UNROLLED, n_positions, n_read, n_scores, reads_table
from trainers.schedule import evaluation_steps, planned_steps
from trainers.tasks import val_size
from trainers.tasks.shapes import has_symbols, n_outputs, n_symbols
from trainers.trace import Engine

COST_VERSION = 2
"""Raised when the amounts change, or steps become much faster: what was fitted before is then not read any more."""


@dataclass(frozen=True, kw_only=True)
class Amounts:
    """Of a program, or with seconds for numbers, the Speed of a machine."""

    flops: float
    activations: float
    """Elements of hidden layers that elementwise operations touch, forward and backward: memory traffic."""
    logits: float
    """Outputs of the network, times examples: exponentials and sums of the loss."""
    parameters: float
    """That the optimizer updates."""
    operations: float
    """Dispatched one by one, whatever the number of lanes."""


Speed = Amounts
"""Seconds for one of each."""
NOTHING = Amounts(flops=0.0, activations=0.0, logits=0.0, parameters=0.0, operations=0.0)

SPEEDS: dict[str, dict[Engine, Speed]] = {
    "cpu": {
        "plain": Speed(flops=1.6e-11, activations=1.2e-9, logits=9e-9, parameters=8e-9, operations=7e-6),
        "eager": Speed(flops=1.6e-11, activations=1.2e-9, logits=9e-9, parameters=8e-9, operations=7e-6),
        "compiled": Speed(flops=1.0e-11, activations=0.8e-9, logits=5e-9, parameters=1e-9, operations=0.3e-6),
    },
    "cuda": {
        "plain": Speed(flops=2.9e-14, activations=6e-12, logits=5e-11, parameters=5e-12, operations=18e-6),
        "eager": Speed(flops=2.9e-14, activations=6e-12, logits=5e-11, parameters=5e-12, operations=1.4e-6),
        "compiled": Speed(flops=1.8e-14, activations=4e-12, logits=1.2e-11, parameters=3.4e-12, operations=0.6e-6),
    },
}
"""As `grokctl doctor --calibrate` fits them: of one core of an AMD EPYC with torch 2.13, and of an NVIDIA H100 with
torch 2.11 (within a quarter of what 29 packs took). On another machine the ratios between shapes hold better than the
seconds, which is what cutting packs evenly needs."""
BACKWARD = 3.0
"""Forward and backward pass over the forward pass alone."""
EVALUATION_OPERATIONS = 0.4
"""Operations of an evaluation over those of a step."""
NORMALIZED = 0.7
"""Of the normalized losses, for each evaluated logit (eager, width 32, p = 113: 9.5 ms on an evaluation of 23.1; all
other further metrics together: nothing that could be measured)."""
FOURIER = 4.0
"""Of restricted and excluded loss, for each logit of the table beside the forward pass (the same run: 73 ms)."""
FRESH_OPERATIONS = 30.0
"""To draw the examples of a step, for each lane, and to copy them (measured: .05 to .2 ms without the copy)."""
SCORE_ACTIVATIONS = 5.0
"""Touches of a score of attention over many positions: masked, exponentiated, summed, and the way back; an estimate."""
SUBNETWORK = 0.5
"""Of the search for a subnetwork, for each hidden unit and training logit, if it comes to the end (1000 units, 980
examples, 87 classes: .40 s; mostly it ends early)."""
BYTES_PER_MEASURE, BYTES_PER_KEPT = 7.5, 3.8
"""Of a row of measures and of a kept number, compressed (measured on 5,888 rows and 64 embeddings of 32 x 16)."""
MEASURE_OPERATIONS = 70.0
"""Of one run's other measures (norms, spectra: .2 to 1.1 ms each)."""
FLOAT64 = 1.85
"""Time in float64 over that in float32 (measured, eager, dispatch left out: 1.81 at width 8, 1.86 at 32)."""
DRAW, DRAW_OPERATIONS = 5.0, 150.0
"""Of a random number for each parameter: time over that of its update (measured, eager, width 32: 35 to 51 ns and 8),
and operations of the generator."""

LANES_BYTES = {"cpu": {"plain": 16e6, "eager": 16e6, "compiled": 4e6}, "cuda": dict.fromkeys(get_args(Engine), 4e8)}
"""Of all lanes: enough of them to hide the dispatch, few enough to stay near the cache. Measured for compiled steps:
width 8 at 3,000 examples is fastest with 4 lanes, 32 and 128 with 2, the toy 200 wide with 6, 64 wide with 35. On a GPU
more lanes are never slower, but beyond this many they gain less than a tenth (H100; width 8: 115,000 run-steps/s with
256 lanes, 125,000 with 512)."""
KEPT = {"plain": 1.0, "eager": 1.0, "compiled": 0.1}
"""Share of a step's activations that passes between operations: fused ones keep the rest in registers."""
MIN_LANES = {"plain": 4, "eager": 4, "compiled": 2}
MAX_LANES = {"cpu": 64, "cuda": 4096}


def work_of_step(config: RunConfig, lanes: int, *, evaluations: bool = True) -> Amounts:
    """Of one step of all lanes, each with a run like this one, and its share of their evaluations."""
    per_run = evaluations_per_step(config) if evaluations else 0.0
    evaluated = per_run * (config.largest_train_size + val_size(config)) / BACKWARD
    examples = lanes * (batch_examples(config) + evaluated)
    n_noises = (config.gradient_noise > 0) + (config.weight_noise > 0)
    slower = FLOAT64 if config.dtype == "float64" else 1.0
    table = lanes * (1 + per_run / BACKWARD) * _table_multiply_adds(config)
    seen = _observing(config, evaluated * BACKWARD) if evaluations else NOTHING
    # Lanes whose runs began together are evaluated together.
    return Amounts(
        flops=slower * 2 * BACKWARD * (examples * _multiply_adds(config) + table) + lanes * seen.flops,
        activations=slower * examples * _activations(config) + lanes * seen.activations,
        logits=slower * (examples * _logits(config) + lanes * seen.logits),
        parameters=lanes * parameter_count(config) * (slower + DRAW * n_noises),
        operations=_operations(config) * (1 + EVALUATION_OPERATIONS * per_run)
        + DRAW_OPERATIONS * n_noises
        + FRESH_OPERATIONS * lanes * config.fresh
        + lanes * seen.operations,
    )


def _observing(config: RunConfig, evaluated: float) -> Amounts:
    """What one run's further metrics and its measures add to a step; `evaluated` examples a step."""
    per_step = len(planned_steps(config.measure_at, config.steps)) / config.steps if config.measures else 0.0
    n_table = config.largest_train_size + val_size(config)
    dear = {
        "fourier_losses": FOURIER * n_table * n_outputs(config),
        "subnetwork_size": SUBNETWORK * config.width * config.largest_train_size * n_outputs(config),
    }
    logits = per_step * sum(dear.get(name, 0.0) for name in catalog.chosen(config.measures))
    if "_loss_normalized" in config.metrics:
        logits += NORMALIZED * evaluated * n_outputs(config)
    n_forward = per_step * n_table * ("fourier_losses" in config.measures) / BACKWARD
    return Amounts(
        flops=2 * BACKWARD * n_forward * _multiply_adds(config),
        activations=n_forward * _activations(config),
        logits=logits,
        parameters=0.0,
        operations=per_step * MEASURE_OPERATIONS * len(catalog.chosen(config.measures)),
    )


def further_bytes(config: RunConfig) -> float:
    """Of a run's measures and snapshots, published."""
    found = 0.0
    if config.measures:
        rows = sum(catalog.MEASURES[name].rows(config) for name in catalog.chosen(config.measures))
        found += BYTES_PER_MEASURE * rows * len(planned_steps(config.measure_at, config.steps))
    if config.snapshots:
        n_kept = parameter_count(config) if config.snapshots == "weights" else embedding_count(config)
        found += BYTES_PER_KEPT * n_kept * len(planned_steps(config.snapshot_at, config.steps))
    return found


def seconds_per_run_step(config: RunConfig, lanes: int, speed: Speed) -> float:
    """Time of one run-step in a full pack on one core or one GPU, evaluation included."""
    work = work_of_step(config, lanes)
    seconds: float = math.fsum(amount * each for amount, each in zip(astuple(work), astuple(speed), strict=True))
    return seconds / lanes


def evaluations_per_step(config: RunConfig) -> float:
    return (len(evaluation_steps(config.steps, config.eval_growth, config.eval_gaps)) - 1) / config.steps


def batch_examples(config: RunConfig) -> float:
    """Of a step, in the mean over a run: a training set may change."""
    ends = [*(phase.start for phase in config.train_sizes[1:]), config.steps]
    seen = [min(phase.size, config.batch_size or phase.size) for phase in config.train_sizes]
    lengths = [end - phase.start for phase, end in zip(config.train_sizes, ends, strict=True)]
    return sum(size * length for size, length in zip(seen, lengths, strict=True)) / config.steps


def flops_per_step(config: RunConfig) -> float:
    """Of one run: 2 multiply-adds, 3 passes."""
    return 6.0 * batch_examples(config) * _multiply_adds(config)


def _multiply_adds(config: RunConfig) -> float:
    """Of the forward pass, per example."""
    w, outputs = config.width, n_read(config) * n_logits(config)
    if config.model != "transformer":
        return w * (_multiplied_inputs(config) + (config.depth - 1) * w + outputs)
    block, places, read = (4 + 2 * config.mlp_ratio) * w**2, n_positions(config), n_read(config)
    last = read * (block - 3 * w**2) + w * outputs
    # Of the last block keys and values are of every position, unless a table of the symbols has them.
    last += 0 if reads_table(config) else places * 2 * w**2
    last += 0 if read == 1 else read * w**2  # queries: of one position they were never counted
    # A score is a product of a head's width, and so is its use.
    return last + (config.depth - 1) * places * block + 2 * w // config.heads * _scores(config)


def _table_multiply_adds(config: RunConfig) -> float:
    """Of the table that examples share, where a task has so many symbols that it counts."""
    return n_symbols(config) * config.width**2 if _reads_many_places(config) else 0.0


def _reads_many_places(config: RunConfig) -> bool:
    return config.model == "transformer" and reads_table(config) and n_positions(config) > MOST_UNROLLED


def _scores(config: RunConfig) -> int:
    """Of attention, per example, where they count."""
    return config.depth * n_scores(config)


def _multiplied_inputs(config: RunConfig) -> int:
    """Of the first layer: columns that one-hot vectors select are added, not multiplied."""
    selected = config.model == "mlp" and has_symbols(config) and combination(config) == "one_hot"
    return 0 if selected else n_inputs(config)


def activations_per_step(config: RunConfig) -> float:
    """Elements that the elementwise operations of one run's step touch, roughly; while its training set is largest."""
    examples = min(config.largest_train_size, config.batch_size or config.largest_train_size)
    return examples * (_activations(config) + 6.0 * _logits(config))


def _logits(config: RunConfig) -> int:
    """Per example."""
    return n_logits(config) * (n_read(config) if config.readout == "every" else 1)


def _activations(config: RunConfig) -> float:
    """Of hidden layers, per example."""
    if config.model in ("toy", "mlp"):
        return 6.0 * config.depth * config.width
    norms = 0 if config.layer_norm == "none" else 16
    places = n_read(config) + n_positions(config) * (config.depth - 1)
    if _reads_many_places(config):
        places += n_positions(config) // 4  # a table's column, weighted
    return (14 + norms + 4 * config.mlp_ratio) * config.width * places + SCORE_ACTIVATIONS * _scores(config)


def _operations(config: RunConfig) -> float:
    """Nodes of the graph of a step with Adam, counted at depths 1 to 3 in the eager engine of November 2026; kernels of
    the compiled one are fewer in proportion. Options of the transformer were counted one by one, and together they
    agree within a tenth (a test holds it to a fifth)."""
    if config.model != "transformer":
        return 150 + 36 * config.depth
    everywhere = config.depth - (n_read(config) == 1)
    # Attention is written out for each pair of few positions, and done at once for many.
    places = min(n_positions(config), 4) - 3
    operations = 140.0 + 375 * config.depth + places * (55 + 110 * (config.depth - 1))
    operations -= 60 * config.depth * (not config.mlp_ratio)
    operations += 98 * config.depth * (config.layer_norm != "none") + 49 * config.final_norm
    operations += 90 * (config.readout != "last") + 30 * config.depth * config.attention_biases
    return operations + 15 * n_positions(config) * (n_positions(config) - 1) * everywhere * (config.attention == "full")


def preferred_lanes(config: RunConfig, engine: Engine, device: str) -> int:
    bytes_of_lane = _bytes_each(config) * (KEPT[engine] * activations_per_step(config) + 4 * parameter_count(config))
    fitting = math.ceil(LANES_BYTES[device][engine] / bytes_of_lane)
    return max(MIN_LANES[engine], min(MAX_LANES[device], fitting))


PROCESS_BYTES = {"cpu": 430e6, "cuda": 500e6}
"""Of a worker that has imported torch, and the compiler, and trained something tiny (measured: 331 MB without the
compiler, some 430 with it; on a GPU, its context)."""
HELD = {"table": 1.9, "places": 3.4, "norms": 4.3}
"""Numbers in memory for each activation: of one block whose values come from a table, of blocks that compute every
place, of those with layer norms."""
EVALUATION_BYTES = 64 * 2**20
"""Lanes are evaluated in groups whose hidden activations over the whole table stay below this."""


DRAW_BYTES = 64
"""Of the generator's words while a number is drawn, an estimate: eight arrays of int64 at a time."""
IMAGES_BYTES = 120e6
"""Of MNIST's pixels, and what reading them takes for a moment (measured: 115 MB)."""


def memory_bytes(config: RunConfig, lanes: int, device: str = "cpu") -> float:
    """Peak of a worker: itself, activations and their gradients, parameters with two moments and a gradient.

    Measured as resident memory, eager and compiled, widths 8 to 128, up to three blocks, the toy (LOG.md): enough to
    keep packs from running out of it, and no more is asked.
    """
    n_vectors = 6 + (config.decay_towards == "init")
    per_lane = _bytes_each(config) * (
        _held(config) * activations_per_step(config) + n_vectors * parameter_count(config)
    )
    if config.gradient_noise or config.weight_noise:
        per_lane += DRAW_BYTES * parameter_count(config)
    shared = IMAGES_BYTES if config.task_kind == "images" else 0.0
    return PROCESS_BYTES[device] + EVALUATION_BYTES + shared + lanes * per_lane


def _held(config: RunConfig) -> float:
    if config.model != "transformer" or (config.depth == 1 and n_read(config) == 1):
        return HELD["table"]
    return HELD["places" if config.layer_norm == "none" else "norms"]


def checkpoint_bytes(config: RunConfig, lanes: int) -> float:
    """Parameters and two moments."""
    return lanes * 3.0 * _bytes_each(config) * parameter_count(config)


def _bytes_each(config: RunConfig) -> int:
    return 8 if config.dtype == "float64" else 4
