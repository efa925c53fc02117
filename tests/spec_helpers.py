"""Specs for the tests of specs."""

from typing import Any

from orchestrator.errors import SpecError
from orchestrator.expand import RunTable, expand
from orchestrator.spec import load_text

HOUSE = """\
# Huang et al. 2024, figure 6: does validation accuracy descend twice as the model grows?
name: double_descent
task: {kind: modular, op: a + b, modulus: 113}
model: {kind: transformer, depth: 1, heads: 4}
optimizer: {kind: adamw, learning_rate: 1e-3, weight_decay: 1.0, betas: [0.9, 0.98]}
steps: 50000
grid:
  width: [4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 48, 56, 64, 100]
  train_size: [2600, 3000, 4000, 5000]
  weight_decay: [1.0]
  task: [a + b]
seeds: 11
diagram: {x: width, y: train_size}
"""

SMALL = """\
name: small
task: {modulus: 7}
steps: 100
train_size: 20
"""


def table_of(text: str, **overrides: str) -> RunTable:
    """The runs of a spec; SMALL supplies what the text leaves out."""
    return expand(load_text(_completed(text), "spec.yaml", overrides).spec)


def refusal_of(text: str, **overrides: str) -> str:
    """What is said about a bad spec."""
    return str(error_of(text, **overrides))


def error_of(text: str, **overrides: str) -> SpecError:
    try:
        load_text(_completed(text), "spec.yaml", overrides)
    except SpecError as error:
        return error
    raise AssertionError("this spec was accepted")


def _completed(text: str) -> str:
    keys = {line.split(":")[0] for line in text.splitlines()}
    return "".join(f"{line}\n" for line in SMALL.splitlines() if line.split(":")[0] not in keys) + text


def column(table: RunTable, name: str) -> list[Any]:
    """A field of every run."""
    return [getattr(config, name) for config in table.configs(range(table.n_runs))]
