"""What training costs, by formula: the planner cuts packs with it. No torch.

FLOPs count the useful multiply-adds (two each) of the shortcut forward pass, times three for the gradient. A run-step
is one optimizer step of one run. The constants were measured on one core of an AMD EPYC with torch 2.13; on another
machine the ratios between shapes hold better than the seconds, which is what cutting packs evenly needs.
"""

import math

from trainers.config import RunConfig
from trainers.models.layout import n_outputs, parameter_count
from trainers.trace import Engine

CPU_FLOPS_PER_S = 28e9
CPU_S_PER_ELEMENT = {"plain": 1.4e-9, "eager": 1.4e-9, "compiled": 0.7e-9}
"""Of an activation in a step, forward and backward: memory traffic of the elementwise operations."""
CPU_S_PER_PARAMETER = {"plain": 3e-9, "eager": 3e-9, "compiled": 1e-9}
"""Of the optimizer."""
S_PER_STEP = {"plain": 1.5e-3, "eager": 1e-3, "compiled": 1e-4}
"""Dispatching a step's operations, whatever the number of lanes."""
GPU_SPEEDUP = 50.0
"""Of the arithmetic against one core. A guess until a GPU is calibrated."""

LANE_BYTES = {"cpu": 16 * 2**20, "cuda": 2 * 2**30}
"""Activations of all lanes together: enough lanes to hide the dispatch, few enough to stay near the cache."""
MIN_LANES, MAX_LANES = 8, {"cpu": 64, "cuda": 4096}


def batch_examples(config: RunConfig) -> int:
    return config.train_size if config.batch_size is None else min(config.batch_size, config.train_size)


def flops_per_step(config: RunConfig) -> float:
    """Of one run: 2 multiply-adds, 3 passes."""
    return 6.0 * batch_examples(config) * _multiply_adds(config)


def _multiply_adds(config: RunConfig) -> float:
    """Of the forward pass, per example."""
    if config.model == "toy":
        hidden = (config.depth - 1) * config.width**2
        return config.width * config.embedding_dim + hidden + config.width * n_outputs(config)
    if config.model == "mlp":
        return config.width * (config.input_size + (config.depth - 1) * config.width + n_outputs(config))
    mlp = 2 * config.mlp_ratio * config.width**2
    last = config.width**2 + mlp + config.width * n_outputs(config)
    full_block = 3 * (4 * config.width**2 + mlp)  # earlier blocks: three positions, four projections
    keys_and_values = 3 * 2 * config.width**2 if config.depth > 1 else 0
    return last + (config.depth - 1) * full_block + keys_and_values


def activations_per_step(config: RunConfig) -> float:
    """Elements that the elementwise operations of one run's step touch, roughly."""
    if config.model in ("toy", "mlp"):
        return batch_examples(config) * (6.0 * config.depth * config.width + 6 * n_outputs(config))
    per_block = (14 + 4 * config.mlp_ratio) * config.width
    return batch_examples(config) * (per_block * (1 + 3 * (config.depth - 1)) + 6.0 * n_outputs(config))


def preferred_lanes(config: RunConfig, device: str) -> int:
    fitting = LANE_BYTES[device] / (4 * activations_per_step(config))
    return max(MIN_LANES, min(MAX_LANES[device], math.ceil(fitting)))


def seconds_per_run_step(config: RunConfig, lanes: int, engine: Engine, device: str = "cpu") -> float:
    """Time of one run-step in a full pack on one core or one GPU."""
    arithmetic = (
        flops_per_step(config) / CPU_FLOPS_PER_S
        + activations_per_step(config) * CPU_S_PER_ELEMENT[engine]
        + parameter_count(config) * CPU_S_PER_PARAMETER[engine]
    )
    return arithmetic / (GPU_SPEEDUP if device == "cuda" else 1.0) + S_PER_STEP[engine] / lanes


def memory_bytes(config: RunConfig, lanes: int) -> float:
    """Peak of a pack's tensors: activations and their gradients, parameters with two moments and a gradient."""
    return lanes * 4.0 * (2 * activations_per_step(config) + 6 * parameter_count(config))
