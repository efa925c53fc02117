"""Every threshold of the classifier, in one frozen table that is stored with each label.

A label means nothing without its thresholds, so all of them are knobs here and none is a number in the rules. Change a
default or a rule and CLASSIFIER_VERSION goes up.
"""

import json
import math
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Self

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

CLASSIFIER_VERSION = "11"
"""Stored with every label. Raised whenever the same trace could get another label, confidence or evidence."""

Level = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Factor = Annotated[float, Field(ge=1, le=1e6, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)]
Rows = Annotated[int, Field(ge=1, le=1000)]


class ClassifierSettings(BaseModel):
    """The knobs. `g(x)` below is accuracy rescaled so that chance is 0 and everything right is 1."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)

    # What counts as learnt, and how long is long
    theta: Level = 0.9
    """Training accuracy from which the training set counts as fitted (Liu et al. 2022: 90 %, tested as >=)."""
    theta_val: Level | None = None
    """Validation accuracy from which a run counts as generalizing; absent: theta. (Liu et al. use 60 % for MNIST.)"""
    delta_steps: NonNegative = 1000.0
    """Steps between the two crossings from which generalization counts as delayed (Liu et al. 2022)."""
    require_plateau: bool = False
    """Whether grokking also needs the training set fitted before validation leaves chance. Off, so that labels compare
    with Liu et al.'s, most of whose "grokking" in the toy has no plateau; the warning no_plateau tells."""
    require_ratio: NonNegative = 0.0
    """Least ratio of the two crossings' steps for grokking; 0: reported only."""

    # Sustained crossings
    dwell_rows: Rows = 3
    """A crossing, by medians of three rows, must hold for at least this many rows..."""
    dwell_factor: Factor = 1.05
    """...and up to this many times its step..."""
    dwell_share: Level = 0.9
    """...in this share of the rows..."""
    slack: Share = 0.05
    """...at no more than this below the level crossed, and..."""
    dwell_majority: Share = 0.5
    """...in this share of the rows at the level itself, up to..."""
    majority_factor: Factor = 1.5
    """...this many times its step, and over at least..."""
    majority_rows: Rows = 5
    """...this many rows."""

    # Too little to tell
    least_val: Rows = 3
    """Validation examples without which nothing is said of generalization: one is guessed right sooner or later."""

    # Chance
    chance: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] | None = None
    """Chance accuracy for all runs; absent: the column chance_accuracy, else 1 / modulus, else 0."""
    chance_band: Share = 0.05
    """Validation counts as at chance up to g = this..."""
    chance_multiple: NonNegative = 3.0
    """...or this many times chance above it, if that is less (of 113 classes g = 0.05 is nearly six times chance)..."""
    chance_sigmas: NonNegative = 3.0
    """...or up to this many standard deviations of guessing, whichever is more, where validation is a sample of the
    table. Where it is all that training left over there is no sampling error; but a final level counts as above chance
    only if luck alone would not reach it (of 10 examples, 2 right are luck at chance 0.1)."""
    above_chance: Share = 0.1
    """A final validation accuracy is well above chance from g = this (and outside the band)."""

    # Tails and rises
    tail: Level = 0.1
    """Final values are medians over this last share of the steps."""
    earlier_from: Share = 0.7
    """A rise is seen against the median from this share of the steps..."""
    earlier_to: Share = 0.8
    """...to this one."""
    rise: Share = 0.05
    """Accuracy is still rising if it gained at least this much since then..."""
    rise_mads: NonNegative = 3.0
    """...and this many median absolute deviations of the earlier rows, and more than one example."""
    creep: Share = 0.01
    """Validation on a level in between is unfinished if it gained at least this much (and more than noise and one
    example) and, going on at its pace per factor of steps,..."""
    finish_within: Factor = 3.0
    """...would generalize within this many budgets..."""
    accelerating: NonNegative = 1.5
    """...or if it is still rising and does so more than this many times as fast, per step, as before: nobody knows
    where to."""
    full_budget: Level = 0.95
    """A run that ends before this share of its budget has stopped early."""

    # Loss of generalization
    peak: Level = 0.5
    """Validation had risen if its sustained maximum has g of at least this (or if it crossed theta_val)..."""
    collapse: Level = 0.5
    """...and has collapsed if its final g is at most this share of that maximum. (If it had crossed theta_val, it has
    declined where it ends below that by more than the slack, and by more than one example.)"""

    # Semi-grokking
    semi_gain: Share = 0.125
    """Of a fitted run whose validation ends between chance and theta_val: its rise is late, too, if g gained at least
    this after delta_steps from the crossing of theta, and..."""
    semi_examples: Rows = 3
    """...this many more validation examples came to be right: one or two come and go."""

    # Progression
    progression_floor: Share = 0.25
    """Before validation leaves chance training accuracy has at least this g on average (a part is memorized)..."""
    progression_examples: NonNegative = 150.0
    """...or in a large training set the g that so many memorized examples give (memory holds examples, not shares: of
    3,000 a network of width 8 holds 300)..."""
    progression_least: Share = 0.05
    """...but never less than this g..."""
    progression_held: Level = 0.75
    """...training stalled: this share of that average..."""
    progression_stall: Factor = 3.0
    """...was there this many times earlier than validation left chance (the average is taken from then on)..."""
    progression_gain: Share = 0.1
    """...training accuracy gains at least this while validation rises (they rise together)..."""
    progression_rise: Level = 0.9
    """...where the rise lasts until this share of it is done..."""
    progression_norm_fall: Share = 0.05
    """...and the parameter norm does not fall by more than this share meanwhile (grokking's sign)."""

    # Described, not decided
    surge: Level = 0.1
    """A surge of validation accuracy gains at least this..."""
    surge_factor: Annotated[float, Field(gt=1, le=1e6, allow_inf_nan=False)] = 1.5
    """...within this factor of steps; surges that lie further apart than it are counted singly."""
    unstable_falls: Rows = 2
    """This many falls from near the maximum to below half of it are called unstable."""
    liu_horizon_steps: Annotated[float, Field(gt=0, le=1e15, allow_inf_nan=False)] = 1e5
    """Steps after which Liu et al. 2022 stop looking (fewer if the budget is smaller)."""

    # The run among its neighbours
    pass2_level: Annotated[float, Field(gt=0.5, lt=1, allow_inf_nan=False)] = 0.9
    """Coverage of the interval of D50, with seeds as clusters; a training size counts as below D50 if it lies below its
    lower end..."""
    pass2_share: Share = 0.25
    """...if at most this share of the seeds at that size generalizes..."""
    pass2_stability: Share = 0.1
    """...and if D50 moved by at most this share between half of the budget and all of it."""

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if problems := "; ".join(contradictions(self)):
            raise PydanticCustomError("contradiction", "{problems}", {"problems": problems})
        return self

    @property
    def validation_level(self) -> float:
        """theta_val, or theta where it is absent."""
        return self.theta if self.theta_val is None else self.theta_val

    @classmethod
    def from_mapping(cls, knobs: Mapping[str, Any]) -> Self:
        """Settings from a spec's classifier block or from `--set classifier.NAME=VALUE` (text values are read as JSON).

        Raises ValueError that names every unknown knob, with the nearest known one, and every value out of range, or
        the knobs that contradict each other."""
        problems = [_unknown(name, cls.model_fields) for name in knobs if name not in cls.model_fields]
        if problems:
            raise ValueError("; ".join(problems))
        try:
            return cls(**{name: _parsed(value) for name, value in knobs.items()})
        except ValidationError as error:
            raise ValueError("; ".join(_problem(item) for item in error.errors())) from None


ONLY_DESCRIBE = frozenset({"surge", "surge_factor", "unstable_falls", "liu_horizon_steps"})
"""Knobs that no phase is decided on."""
NEAR_OPEN_END = 1e-3
"""How near a knob is moved to a bound that it must not reach."""

ROUNDING = 1e-9
"""1 - 0.9 is a little less than 0.1."""


def contradictions(settings: ClassifierSettings) -> Iterator[str]:
    """Which knobs, each within its range, can't be meant together."""
    s = settings
    level = ("theta_val", s.theta_val) if s.theta_val is not None and s.theta_val < s.theta else ("theta", s.theta)
    if s.earlier_from >= s.earlier_to:
        yield f"earlier_from should be less than earlier_to, is {s.earlier_from:g} with earlier_to {s.earlier_to:g}"
    if s.earlier_to > 1 - s.tail + ROUNDING:
        begins = f"{1 - s.tail:g}, where the tail begins"
        yield f"earlier_to should be at most {begins}, is {s.earlier_to:g} with tail {s.tail:g}"
    if s.progression_least > s.progression_floor:
        yield (
            f"progression_least should be at most progression_floor, is {s.progression_least:g} with "
            f"progression_floor {s.progression_floor:g}"
        )
    if s.chance is not None and s.chance >= level[1]:
        yield f"chance should be less than {level[0]}, is {s.chance:g} with {level[0]} {level[1]:g}"


def movable_knobs(settings: ClassifierSettings) -> list[str]:
    """Knobs that decide phases and that a share of their value can be added to: numbers that are not 0. `chance` is a
    fact about the data; theta_val moves alone only where it is set apart from theta."""
    still = ONLY_DESCRIBE | {"chance"}
    values = settings.model_dump().items()
    return [name for name, value in values if value and not isinstance(value, bool) and name not in still]


def moved(settings: ClassifierSettings, name: str, share: float) -> ClassifierSettings | None:
    """The settings with one knob moved by a share of its value, within its range; None if it stands at that end, or
    if it would contradict another knob there.

    A number of rows moves by one row at least."""
    value = getattr(settings, name)
    target = value * (1 + share)
    if isinstance(value, int):
        target = value + round(math.copysign(max(1, abs(target - value)), share))
    target = _within_range(name, target)
    if target == value:
        return None
    other = settings.model_copy(update={name: target})
    return None if any(contradictions(other)) else other


def _within_range(name: str, target: Any) -> Any:
    for bound in _bounds(name):
        if isinstance(bound, Ge):
            target = max(target, bound.ge)
        elif isinstance(bound, Le):
            target = min(target, bound.le)
        elif isinstance(bound, Gt):
            target = max(target, bound.gt + NEAR_OPEN_END)  # type: ignore[operator]
        elif isinstance(bound, Lt):
            target = min(target, bound.lt - NEAR_OPEN_END)  # type: ignore[operator]
    return target


def _bounds(name: str) -> list[Any]:
    return list(ClassifierSettings.model_fields[name].metadata)


def _unknown(name: str, known: Mapping[str, Any]) -> str:
    near = get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else "known knobs: " + ", ".join(known)
    return f"classifier: unknown knob {name!r}; {hint}"


def _parsed(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        return value


def _problem(error: Any) -> str:
    if not error["loc"]:
        return f"classifier: {error['msg']}"
    name = error["loc"][0]
    return f"classifier.{name}: {error['msg']}, got {error['input']!r}"
