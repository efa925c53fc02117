"""The formulas that plans are cut by, against what a step really does. (Seconds are in test_calibration.py.)"""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from test_trainers_models import LIU, OPTIONS, POWER, SHAPES, mlp_config
from torch.utils.flop_counter import FlopCounterMode
from trainers_helpers import toy, train, transformer

from trainers import cost, engine, tasks
from trainers.config import RunConfig
from trainers.models import layout

WIDE = {"width": 64, "modulus": 47, "train_size": 1}
FLOPS = [
    *(transformer(**shape | WIDE | {"heads": 2}) for shape in SHAPES[:1] + SHAPES[3:]),
    *(transformer(**shape | WIDE | {"heads": 2, "vocabulary": None}) for shape in OPTIONS),
    *(toy(**WIDE, **changes) for changes in ({}, {"combine": "product", "embedding_dim": 4})),
    *(mlp_config(train_size=1, **changes) for changes in ({}, {"depth": 3}, {"combine": "concat", "embedding_dim": 8})),
]


def _name(config: RunConfig) -> str:
    return f"{config.model} {sorted(config.model_fields_set)}"


@pytest.mark.parametrize("config", FLOPS, ids=_name)
def test_flops_of_a_step_are_those_of_the_forward_pass_three_times(config: RunConfig) -> None:
    """Without attention's own products, and but for the table of a network of one block, which examples share."""
    vector = torch.from_numpy(layout.initial_vector(config))
    inputs = torch.from_numpy(tasks.build(config).inputs_NT)
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        engine.network(config, "eager")((vector,), inputs, None)
    counted = 3 * counter.get_total_flops() / len(inputs)
    assert cost.flops_per_step(config) / cost.batch_examples(config) == pytest.approx(counted, rel=0.15)


OPERATIONS: dict[str, RunConfig] = {
    "Nanda": transformer(steps=1),
    "Power": transformer(steps=1, depth=2, **POWER),
    "Liu": transformer(steps=1, depth=2, **LIU),
    "pre": transformer(steps=1, depth=2, layer_norm="pre", final_norm=True),
    "toy": toy(steps=1),
    "mlp": mlp_config(steps=1, depth=2),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_are_the_nodes_of_the_graph(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    programs: dict[Any, Any] = {}
    monkeypatch.setattr(engine, "_STEPS", programs)
    train([OPERATIONS[name]], lanes=1)
    (program,) = programs.values()
    counted = sum(node.op == "call_function" for node in program.graph.nodes)
    assert cost._operations(OPERATIONS[name]) == pytest.approx(counted, rel=0.2)


@pytest.mark.parametrize("shape", [{}, {"readout": "every"}, {"readout": "concat"}, {"vocabulary": 50}], ids=str)
def test_logits_are_what_the_network_gives(shape: dict[str, Any]) -> None:
    config = transformer(**shape)
    inputs = torch.from_numpy(tasks.build(config).inputs_NT)
    outputs = engine.network(config, "plain")((torch.from_numpy(layout.initial_vector(config)),), inputs, None)
    assert cost.work_of_step(config, 1, evaluations=False).logits == 15 * outputs[0].numel()


EVALUATED = """
from pathlib import Path
from trainers import cost, engine, lanes
from trainers.config import RunConfig
from trainers.trace import PackSettings
config = RunConfig(
    width=128, depth=2, layer_norm="post", operator_token=True, modulus=113, train_size=6000, batch_size=512, steps=100
)
engine.prepare(PackSettings(lanes=1, engine="eager", threads=1, segment_steps=1, device="cpu"))
tensors = lanes.empty([config], 1, "cpu")
tensors.put(0, config)
engine.evaluate(tensors, [0], config, "eager")
(peak,) = (line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(1024 * int(peak) / cost.memory_bytes(config, 1))
"""
"""Not ru_maxrss: that of a child begins with what the process was that it was forked from."""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from /proc")
def test_evaluating_a_large_table_stays_within_the_memory_foretold() -> None:
    """Traced with tensors of memory it took 1.37 of it; without, .99."""
    told = subprocess.run([sys.executable, "-c", EVALUATED], capture_output=True, text=True, check=True)
    assert float(told.stdout) < 1.15
