"""Any text, and any valid spec with one mutation, loads or is refused by a SpecError. Never anything else."""

import contextlib
import copy
import json

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import SpecError
from orchestrator.expand import expand
from orchestrator.spec import build, load_text
from orchestrator.yaml_source import plain

VALID = {
    "name": "x",
    "task": {"kind": "modular", "op": "a / b if b % 2 else a - b", "modulus": 7},
    "model": {"kind": "transformer", "width": 8, "depth": 1, "heads": 2, "init_scale": 1.0},
    "optimizer": {"kind": "adamw", "learning_rate": 0.001, "betas": [0.9, 0.98], "warmup_steps": 3},
    "loss": "cross_entropy",
    "steps": 100,
    "train_size": 20,
    "batch_size": 5,
    "evaluation": {"growth": 1.1, "gaps": 10},
    "stop": {"val_accuracy": 0.9, "patience_steps": 10},
    "grid": {"width": [4, 8], "weight_decay": {"linspace": [0, 1, 3]}, "task": ["a + b", {"op": "a * b"}]},
    "zip": {"dropout": [0.1, 0.2], "train_size": {"range": [10, 12, 1]}},
    "sample": {"count": 2, "seed": 1, "axes": {"learning_rate": {"loguniform": [0.001, 0.1]}}},
    "where": "width * 2 <= train_size and task != 'a - b'",
    "seeds": 2,
    "diagram": {"x": "width", "y": "weight_decay", "facet": "task"},
    "classifier": {"theta": 0.9},
    "resources": {"device": "cpu", "lanes": 4, "engine": "auto"},
    "keep": {"weights": "final"},
}


def places(data, prefix=()):
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [prefix] + [place for key, value in items for place in places(value, (*prefix, key))]


PLACES = places(VALID)
NUMBERS = [0, 1, -1, 2, 3, 12, 10**6, 10**9, 10**18, 10**29, 0.5, -0.5, 1.0, 1e-300, 1e300, 1e999, -1e999, float("nan")]
WORDS = ["", "x", "a + b", "a +", "f(a)", "9" * 40, "width", "task", "seed", "seeds", "random", "adamw", "toy", "mse"]
WORDS += [
    "toy_addition",
    "random_labels",
    "betas",
    "1e-3",
    "\n",
    "\x00",
    "é",
    "\ud800",
    "a" * 2000,
    "steps",
    "linspace",
]
SCALARS = st.sampled_from([None, True, False, *NUMBERS, *WORDS])
VALUES = st.one_of(
    SCALARS,
    st.lists(SCALARS, max_size=4),
    st.dictionaries(st.sampled_from([w for w in WORDS if w]), SCALARS, max_size=2),
    st.sampled_from([place[-1] for place in PLACES if place]),
    st.dictionaries(st.sampled_from(["linspace", "geomspace", "logspace", "range", "uniform", "loguniform", "choice"]),
                    st.lists(SCALARS, min_size=2, max_size=3), min_size=1, max_size=1),
)  # fmt: skip


@st.composite
def mutants(draw):
    """VALID with one value replaced, removed, renamed or added."""
    spec = copy.deepcopy(VALID)
    *path, key = draw(st.sampled_from(PLACES[1:]))
    holder = spec
    for part in path:
        holder = holder[part]
    change = draw(st.sampled_from(["replace", "remove", "add"]))
    if change == "remove":
        del holder[key]
    elif change == "replace" or isinstance(holder, list):
        holder[key] = draw(VALUES)
    else:
        holder[
            draw(st.sampled_from([w for w in WORDS if w] + [p[-1] for p in PLACES if p and isinstance(p[-1], str)]))
        ] = draw(VALUES)
    return spec


def loaded(text, overrides):
    """The spec, or None if it is refused."""
    with contextlib.suppress(SpecError):
        return load_text(text, "f.yaml", overrides).spec


def test_what_is_mutated_is_valid():
    assert loaded(json.dumps(VALID), {}) is not None


@settings(deadline=None)
@given(mutants())
def test_a_mutated_spec_loads_or_is_refused(spec):
    found = loaded(json.dumps(spec, ensure_ascii=False, allow_nan=True).replace("\ud800", "\\ud800"), {})
    if found is not None:
        table = expand(found)
        assert len(set(table.run_ids().tolist())) == table.n_runs
        assert table.config(table.n_runs - 1).run_id == table.run_ids()[-1]
        again, faults = build(plain(found.model_dump(mode="json")))
        assert (again, faults) == (found, [])


@settings(deadline=None)
@given(
    st.text(max_size=100),
    st.dictionaries(st.sampled_from(["width", "task", "betas", "seed", "x"]), st.text(max_size=20)),
)
def test_any_text_loads_or_is_refused(text, overrides):
    loaded(text, overrides)
    loaded(json.dumps(VALID), overrides)
    loaded(f"name: x\nsteps: 5\ntrain_size: 5\ntask: {text}", overrides)
