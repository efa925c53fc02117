"""The axes of a spec: every form in which their values can be written, checked and written out.

A list stands for itself; `linspace`, `geomspace`, `logspace` (as in numpy, end points included) and `range` (as in
Python, the stop excluded) are computed here. Computed floats are rounded to 12 significant digits, so that 0.1 + 0.2 is
0.3 in a file name, a filter and a run's identity alike.
"""

import math
from collections.abc import Callable, Hashable, Sequence
from typing import Any, get_args

import numpy as np
from pydantic import ValidationError

from orchestrator.errors import Fault, KeyPath
from orchestrator.spec_model import AXIS_NAMES, MAX_AXIS, PLACES, TaskBlock, adapter, list_adapter
from orchestrator.train_schedule import read_schedule
from orchestrator.wording import faults_of, show, unknown
from trainers.config import RunConfig

FORMS = ("linspace", "geomspace", "logspace", "range")
DISTRIBUTIONS = ("uniform", "loguniform", "choice")


class AxisError(ValueError):
    """What is wrong with an axis as a whole."""


def takes(name: str, kind: type) -> bool:
    """Whether a hyperparameter is of this type, apart from being absent."""
    if name not in RunConfig.model_fields:
        return False
    annotation = RunConfig.model_fields[name].annotation
    parts = get_args(annotation) or (annotation,)
    return any(kind in (part, getattr(part, "__origin__", None)) for part in parts)


NUMERIC_NAMES = tuple(name for name in AXIS_NAMES if takes(name, int) or takes(name, float))


def axis_values(
    name: str, written: Any, path: KeyPath, *, distinct: bool = True
) -> tuple[tuple[Any, ...], list[Fault]]:
    """The values of an axis and what is wrong with them. `distinct`: no value may appear twice."""
    if name not in AXIS_NAMES:
        return (), [Fault(path, unknown("axis", name, AXIS_NAMES), at_key=True)]
    try:
        listed = _listed(name, written)
    except AxisError as error:
        return (), [Fault(path, str(error))]
    values, faults = _checked(name, listed, path)
    if distinct and not faults:
        faults = _repeats(values, path)
    return values, faults


def _listed(name: str, written: Any) -> list[Any]:
    if isinstance(written, list):
        if not written:
            raise AxisError("an axis needs at least one value, this list is empty")
        if len(written) > MAX_AXIS:
            raise AxisError(f"an axis may have {MAX_AXIS:,} values, this one has {len(written):,}")
        return written
    if isinstance(written, dict) and len(written) == 1 and next(iter(written)) in FORMS:
        [(form, arguments)] = written.items()
        if name not in NUMERIC_NAMES:
            raise AxisError(f"{form} makes numbers; {name} takes a list of values")
        values = _generated(form, arguments)
        if not takes(name, int) or (name == "train_size" and any(0 < v < 1 for v in values)):
            return values  # beside fractions of the table 1.0 is all of it, and not one example
        # Whole numbers as int where the hyperparameter wants them, so that geomspace from 8 to 128 can be widths.
        return [int(v) if v == math.floor(v) else v for v in values]
    forms = ", ".join(f"{{{form}: [...]}}" for form in FORMS)
    raise AxisError(f"an axis is a list of values or one of {forms}; this is {show(written)}")


def _generated(form: str, arguments: Any) -> list[float]:
    if not isinstance(arguments, list) or len(arguments) != 3 or not all(map(_is_finite, arguments)):
        wanted = "[start, stop, step]" if form == "range" else "[first, last, count]"
        raise AxisError(f"{form} takes three finite numbers, {wanted}")
    first, second, third = arguments
    if form == "range":
        return _range(first, second, third)
    if isinstance(third, float) or third < 1 or third > MAX_AXIS:
        raise AxisError(f"the third number of {form} is the count of values, 1 to {MAX_AXIS:,}; this is {show(third)}")
    if form == "geomspace" and (first <= 0 or second <= 0):
        raise AxisError("geomspace needs two numbers above 0")
    if form == "logspace" and max(abs(first), abs(second)) > 300:
        raise AxisError("logspace takes exponents of ten, between -300 and 300")
    function: Callable[..., Any] = getattr(np, form)
    return [rounded(value) for value in function(float(first), float(second), third).tolist()]


def _range(start: float, stop: float, step: float) -> list[float]:
    if step == 0:
        raise AxisError("the step of a range is not 0")
    count = (stop - start) / step - 1e-9  # 0.3 / 0.1 is a little less than 3, 0.6 / 0.2 a little more
    if count <= 0:
        raise AxisError("this range is empty; its stop is excluded, as in Python")
    if count > MAX_AXIS:
        raise AxisError(f"an axis may have {MAX_AXIS:,} values, this range has more")
    values = [start + i * step for i in range(math.ceil(count))]
    return values if isinstance(start + step, int) else [rounded(value) for value in values]


def _is_finite(value: Any) -> bool:
    """A number small enough that what is computed from it stays one."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 1e300


def rounded(value: float) -> float:
    """To 12 significant digits."""
    return float(f"{value:.12g}")


def _checked(name: str, listed: Sequence[Any], path: KeyPath) -> tuple[tuple[Any, ...], list[Fault]]:
    if name == "task":
        return _checked_tasks(listed, path)
    if name == "train_size" and any(isinstance(entry, list) for entry in listed):
        return _checked_sizes(listed, path)
    try:
        return tuple(list_adapter(name).validate_python(list(listed))), []
    except ValidationError as error:
        return (), faults_of(error, prefix=path)


def _checked_tasks(listed: Sequence[Any], path: KeyPath) -> tuple[tuple[Any, ...], list[Fault]]:
    """Operations, or mappings that change the task block for this value."""
    values: list[Any] = []
    faults: list[Fault] = []
    for position, entry in enumerate(listed):
        place = (*path, position)
        try:
            if isinstance(entry, dict):
                block = TaskBlock.model_validate(entry)
                values.append({key: getattr(block, key) for key in entry})
            else:
                values.append(adapter("task").validate_python(entry))
        except ValidationError as error:
            faults += faults_of(error, TaskBlock, place, PLACES)
    return tuple(values), faults


def _checked_sizes(listed: Sequence[Any], path: KeyPath) -> tuple[tuple[Any, ...], list[Fault]]:
    """Sizes, or schedules of them, which stay as they are written."""
    values: list[Any] = []
    faults: list[Fault] = []
    for position, entry in enumerate(listed):
        if isinstance(entry, list):
            values.append(entry)
            faults += read_schedule(entry, (*path, position))[1]
            continue
        try:
            values.append(adapter("train_size").validate_python(entry))
        except ValidationError as error:
            faults += faults_of(error, prefix=(*path, position))
    return tuple(values), faults


def _repeats(values: Sequence[Any], path: KeyPath) -> list[Fault]:
    keys = [value if isinstance(value, Hashable) else repr(value) for value in values]
    if len(set(keys)) == len(keys):
        return []
    seen: dict[Any, int] = {}
    faults = []
    for position, (key, value) in enumerate(zip(keys, values, strict=True)):
        first = seen.setdefault(key, position)
        if first != position:
            faults.append(
                Fault((*path, position), f"{value!r} appears twice on this axis, first at position {first + 1}")
            )
    return faults


def distribution(name: str, written: Any, path: KeyPath) -> tuple[dict[str, tuple[Any, ...]], list[Fault]]:
    """How an axis of `sample` is drawn, checked: exactly one of uniform, loguniform, choice."""
    if name not in AXIS_NAMES:
        return {}, [Fault(path, unknown("axis", name, AXIS_NAMES), at_key=True)]
    if not isinstance(written, dict) or len(written) != 1 or next(iter(written)) not in DISTRIBUTIONS:
        message = "is drawn by one of {uniform: [low, high]}, {loguniform: [low, high]}, {choice: [...]}"
        return {}, [Fault(path, f"{message}; this is {show(written)}")]
    [(kind, arguments)] = written.items()
    values, faults = axis_values(name, arguments, (*path, kind), distinct=kind != "choice")
    if not faults and kind != "choice":
        faults = _interval_faults(name, kind, arguments, values, (*path, kind))
    return {kind: values}, faults


def _interval_faults(name: str, kind: str, arguments: Any, values: Sequence[Any], path: KeyPath) -> list[Fault]:
    if name not in NUMERIC_NAMES:
        return [Fault(path, f"{kind} makes numbers; {name} takes {{choice: [...]}}")]
    if not isinstance(arguments, list) or len(values) != 2 or None in values or not values[0] < values[1]:
        return [Fault(path, f"{kind} takes [low, high] with low below high")]
    if kind == "loguniform" and values[0] <= 0:
        return [Fault(path, "loguniform needs low above 0")]
    if type(values[0]) is not type(values[1]):
        return [Fault(path, "both ends are counts, or both are fractions")]
    return []
