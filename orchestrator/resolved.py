"""The spec as a plan keeps it, in plain values and with every default; and whether two of these mean the same runs."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from orchestrator.spec_model import SweepSpec


def resolved_spec(spec: SweepSpec) -> dict[str, Any]:
    """The spec with every default filled in, as plain values that JSON holds exactly."""
    resolved: dict[str, Any] = json.loads(json.dumps(spec.model_dump(mode="json"), allow_nan=False))
    return resolved


def normalized_spec(resolved: Mapping[str, Any]) -> dict[str, Any]:
    """Equal for specs that mean the same runs: the order of seeds and of an axis's values in the grid is no matter, nor
    is the place of the user's code, and a key that an earlier version did not know stands at its default."""
    filled = _filled(resolved_spec(SweepSpec(name=resolved["name"])), resolved)
    grid = {name: sorted(values, key=json.dumps) for name, values in filled["grid"].items()}
    if filled["code"]:  # what it is counts, not where it lies
        filled["code"] = {"sha256": filled["code"]["sha256"]}
    return {**filled, "grid": grid, "seeds": sorted(filled["seeds"])}


def _filled(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    blocks = {name: value for name, value in defaults.items() if isinstance(value, dict)}
    return {
        **defaults,
        **{
            n: _filled(blocks[n], value) if n in blocks and isinstance(value, dict) else value
            for n, value in given.items()
        },
    }


def spec_digest(resolved: Mapping[str, Any]) -> str:
    """sha256 of the resolved spec; comments and order don't enter it."""
    return hashlib.sha256(json.dumps(normalized_spec(resolved), sort_keys=True).encode()).hexdigest()


def spec_changes(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """By the dotted path of a key `old -> new`, short."""
    changes: dict[str, str] = {}
    for name in dict.fromkeys([*old, *new]):
        before, after, path = old.get(name), new.get(name), f"{prefix}{name}"
        if isinstance(before, dict) and isinstance(after, dict):
            changes |= spec_changes(before, after, f"{path}.")
        elif before != after:
            changes[path] = f"{_short(before)} -> {_short(after)}"
    return changes


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."
