"""What a key of a spec may hold: the range and default of a hyperparameter, or a value that is more than a number.

Each validator writes its value as RunConfig has it: an operation in its canonical form, a mapping of subsets as text.
"""

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainValidator,
    TypeAdapter,
    WithJsonSchema,
)
from pydantic_core import CoreSchema, PydanticCustomError

from orchestrator.filters import parse_filter
from trainers.config import Count, RunConfig, Seed
from trainers.expressions import OPERANDS, parse
from trainers.tasks.shapes import SEQUENCES
from trainers.tasks.subsets import parse_subsets, write_subsets
from trainers.train_sizes import parse_before, write_before

WITHOUT_OPERATION = {
    "random_labels": "random", "mixture": "mixture", "sparse_parity": "parity", "images": "images", "data": "data",
    "teacher_student": "teacher", "code": "code", **{kind: kind for kind in SEQUENCES},
}  # fmt: skip
"""Kinds of task that have no operation, and what stands in its place."""


class Sets:
    """Marks a key that sets a hyperparameter of another name or in another form."""

    def __init__(self, name: str) -> None:
        self.name = name


class Like(Sets):
    """Type, range and description of a RunConfig field."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        info = RunConfig.model_fields[self.name]
        annotation: Any = info.annotation
        for constraint in info.metadata:
            annotation = Annotated[annotation, constraint]
        return handler.generate_schema(annotation)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        described = RunConfig.model_fields[self.name].description
        return {**handler(schema), **({"description": described} if described else {})}


def _train_size(value: Any) -> int | float:
    if isinstance(value, float) and 0 < value < 1:
        return value
    if isinstance(value, float):
        raise PydanticCustomError("train_size", "should be a whole number, or a fraction of the table below 1")
    return _COUNT.validate_python(value)


def _train_size_before(value: Any) -> str:
    if not isinstance(value, str):
        raise PydanticCustomError("text_wanted", "should be text")
    try:
        return write_before(parse_before(value))
    except ValueError as error:
        raise PydanticCustomError("train_size_before", "{problem}", {"problem": str(error)}) from None


def _canonical_task(text: str) -> str:
    return text if text in WITHOUT_OPERATION.values() else parse(text, OPERANDS).text


def _canonical_marginal(text: str | None) -> str | None:
    return None if text is None else parse(text, OPERANDS).text


def _subsets(value: Any) -> str:
    """From a mapping, or from what became of one."""
    if not isinstance(value, str) and not (isinstance(value, dict) and all(isinstance(v, str) for v in value.values())):
        raise PydanticCustomError("subsets", "should map names to filters, as zero to a == 0")
    try:
        return write_subsets(parse_subsets(value) if isinstance(value, str) else value)
    except ValueError as error:
        raise PydanticCustomError("subsets", "{problem}", {"problem": str(error)}) from None


def _columns(value: Any) -> str:
    """From a list of names, or from what became of one."""
    names = value.split(",") if isinstance(value, str) and value else value or []
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise PydanticCustomError("columns", "should be a list of names: [x1, x2]")
    wrong = next((name for name in names if "," in name), None)
    if wrong is not None:
        raise PydanticCustomError("columns", "has a comma in {name}; rename the column", {"name": repr(wrong)})
    if len(set(names)) < len(names):
        raise PydanticCustomError("columns", "names a column twice")
    return ",".join(names)


def _canonical_filter(text: str) -> str:
    return parse_filter(text).text


def as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _auto_as_none(value: Any) -> Any:
    return None if value == "auto" else value


def _size_or_all(value: Any) -> int | float | str:
    return value if value == "all" else _train_size(value)


_COUNT: TypeAdapter[int] = TypeAdapter(Count, config=ConfigDict(strict=True))
_TRAIN_SIZE_SCHEMA = {
    "anyOf": [{"type": "integer", "minimum": 1}, {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}],
    "description": "Number of training examples, or a fraction of the table below 1.",
}
_SUBSETS_SCHEMA = {"anyOf": [{"type": "object", "additionalProperties": {"type": "string"}}, {"type": "string"}]}
_COLUMNS_SCHEMA = {"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "string"}]}
_PHASE_SIZE_SCHEMA = {"anyOf": [*_TRAIN_SIZE_SCHEMA["anyOf"], {"const": "all"}]}

TrainSize = Annotated[int | float, PlainValidator(_train_size), WithJsonSchema(_TRAIN_SIZE_SCHEMA), Sets("train_size")]
PhaseSize = Annotated[int | float | Literal["all"], PlainValidator(_size_or_all), WithJsonSchema(_PHASE_SIZE_SCHEMA)]
TrainSizeBefore = Annotated[
    str, PlainValidator(_train_size_before), WithJsonSchema({"type": "string"}), Sets("train_size_before")
]
Operation = Annotated[str, AfterValidator(_canonical_task), Sets("task")]
MarginalOf = Annotated[str | None, AfterValidator(_canonical_marginal), Sets("marginal_of")]
Subsets = Annotated[str, PlainValidator(_subsets), WithJsonSchema(_SUBSETS_SCHEMA), Sets("subsets")]
FeatureColumns = Annotated[str, PlainValidator(_columns), WithJsonSchema(_COLUMNS_SCHEMA), Sets("feature_columns")]
TargetColumns = Annotated[str, PlainValidator(_columns), WithJsonSchema(_COLUMNS_SCHEMA), Sets("target_columns")]
Filter = Annotated[str, AfterValidator(_canonical_filter)]
Betas = Annotated[
    tuple[Annotated[float, Like("beta1")], Annotated[float, Like("beta2")]], BeforeValidator(as_tuple), Sets("betas")
]
Values = Annotated[tuple[Any, ...], BeforeValidator(as_tuple)]
"""An axis, checked and written out by `orchestrator.axes`."""
Seeds = Annotated[tuple[Seed, ...], Field(min_length=1), BeforeValidator(as_tuple)]
Steps = Annotated[
    tuple[Annotated[int, Field(ge=0, le=2**31 - 1)], ...],
    Field(min_length=1, max_length=10_000),
    BeforeValidator(as_tuple),
]
Engine = Annotated[Literal["plain", "eager", "compiled"] | None, BeforeValidator(_auto_as_none)]
