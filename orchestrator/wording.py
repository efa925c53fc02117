"""What grokctl says about a value that pydantic refused: what is allowed, what was given, what may have been meant."""

import math
from collections.abc import Collection, Sequence
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from orchestrator.errors import Fault, KeyPath
from trainers.expressions import ExpressionError

USUAL_NAMES = {
    "alpha": "init_scale", "bs": "batch_size", "clip": "clip_norm", "d_model": "width", "data_fraction": "train_size",
    "decay": "weight_decay", "embedding_lr": "embedding_learning_rate", "epochs": "steps", "hidden_size": "width",
    "grad_clip": "clip_norm", "last_layer_lr": "last_layer_learning_rate", "layers": "depth", "lr": "learning_rate",
    "max_grad_norm": "clip_norm", "noise_factor": "gradient_noise", "n_heads": "heads", "n_layers": "depth",
    "num_heads": "heads", "num_layers": "depth", "num_steps": "steps", "op": "task", "operation": "op", "p": "modulus",
    "prime": "modulus", "train_fraction": "train_size", "warmup": "warmup_steps", "wd": "weight_decay",
}  # fmt: skip
"""Words for hyperparameters in other people's code, which no spelling distance finds."""

_BOUNDS = {
    "greater_than": ("more than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}
_TYPES = {
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "finite_number": "a finite number",
    "float_type": "a number",
    "int_from_float": "a whole number",
    "int_type": "a whole number",
    "list_type": "a list",
    "model_type": "a mapping",
    "string_type": "text",
    "tuple_type": "a list",
}

_SAY_IT_ALL = ("train_size_before", "subsets", "members", "columns", "contradiction")
"""Types of our own findings that say what was given."""


def show(value: Any) -> str:
    """A value as it could stand in YAML, short."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case str():
            return "text " + repr(value if len(value) <= 40 else value[:37] + "...")
        case float() if not math.isfinite(value):
            return f".{value}".replace(".-", "-.")
        case int() | float():
            return repr(value)
        case list() | tuple():
            return "a list" if value else "an empty list"
    return "a mapping" if isinstance(value, dict | BaseModel) else type(value).__name__


def nearest(name: str, known: Collection[str]) -> str | None:
    """The known name that was probably meant."""
    usual = USUAL_NAMES.get(name.lower())
    if usual in known:
        return usual
    close = get_close_matches(name, known, n=1)
    return close[0] if close else None


def unknown(kind: str, name: str, known: Sequence[str], places: dict[str, KeyPath] | None = None) -> str:
    """`unknown key 'widht'; did you mean 'width'? Allowed: ...`"""
    meant = nearest(name, known)
    elsewhere = (places or {}).get(USUAL_NAMES.get(name.lower(), name))
    hint = f"; did you mean {meant!r}?" if meant else "."
    if elsewhere is not None and elsewhere[-1] not in known:
        hint = f"; it belongs in {_as_yaml(elsewhere)}."
    elif meant is None and (near := nearest(name, places or {})):
        hint = f"; did you mean {'.'.join(map(str, (places or {})[near]))}?"
    return f"unknown {kind} {name!r}{hint} Allowed: {', '.join(known)}"


def _as_yaml(path: KeyPath) -> str:
    keys = [str(part) for part in path if isinstance(part, str)]
    return f"`{keys[0]}: {{{keys[1]}: ...}}`" if len(keys) > 1 else f"`{keys[0]}:` at the top of the spec"


def faults_of(
    error: ValidationError,
    model: type[BaseModel] | None = None,
    prefix: KeyPath = (),
    places: dict[str, KeyPath] | None = None,
) -> list[Fault]:
    """Pydantic's findings in our words. `model` is what was validated: it knows the allowed keys."""
    return [_fault(details, model, prefix, places) for details in error.errors(include_url=False)]


def _fault(
    details: ErrorDetails, model: type[BaseModel] | None, prefix: KeyPath, places: dict[str, KeyPath] | None
) -> Fault:
    location = details["loc"]
    path = (*prefix, *location)
    if details["type"] == "extra_forbidden":
        known = list(_block_at(model, location[:-1]).model_fields)
        return Fault(path, unknown("key", str(location[-1]), known, places), at_key=True)
    cause = details.get("ctx", {}).get("error")
    if isinstance(cause, ExpressionError):
        return Fault(path, cause.message, offset=cause.column)
    return Fault(path, _message(details))


def _block_at(model: type[BaseModel] | None, location: KeyPath) -> type[BaseModel]:
    assert model is not None
    for part in location:
        annotation = model.model_fields[str(part)].annotation
        model = next(a for a in (annotation, *get_args(annotation)) if isinstance(a, type) and issubclass(a, BaseModel))
    return model


def _message(details: ErrorDetails) -> str:
    kind, given, context = details["type"], show(details["input"]), details.get("ctx", {})
    if kind in _BOUNDS:
        words, key = _BOUNDS[kind]
        return f"should be {words} {context[key]:g}, is {given}"
    if kind in _TYPES:
        return f"should be {_TYPES[kind]}, is {given}{_advice(kind, details['input'])}"
    if kind == "literal_error":
        return f"should be {context['expected']}, is {given}{_meant(details['input'], context['expected'])}"
    if kind == "missing":
        return "is missing"
    if kind in _SAY_IT_ALL:
        return details["msg"]
    if kind == "string_pattern_mismatch":
        return f"should be 1 to 64 letters, digits, '.', '_' or '-', beginning with a letter or digit; is {given}"
    if kind in ("too_long", "too_short"):
        return (
            f"should have {context.get('max_length', context.get('min_length'))} values, has {context['actual_length']}"
        )
    return f"{details['msg']}, is {given}"


def _advice(kind: str, value: Any) -> str:
    if not isinstance(value, str) or kind not in ("int_type", "float_type"):
        return ""
    try:
        float(value)
    except ValueError:
        return ""
    return "; numbers are written without quotes and underscores"


def _meant(value: Any, expected: str) -> str:
    known = [word for word in expected.split("'") if word and word not in (", ", " or ")]
    close = get_close_matches(str(value).lower(), known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
