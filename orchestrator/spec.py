"""Reading a spec: text, plain data, a checked SweepSpec, and the table of its runs.

Every problem is found in one go and located. First each key is checked by itself. What is wrong is then taken out, and
the rest is checked for what its keys may not say together, except where that would depend on what was wrong.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from orchestrator import shipped
from orchestrator.axes import axis_values, distribution
from orchestrator.checks import check
from orchestrator.code_file import identify_code
from orchestrator.errors import (
    EXIT_IO,
    EXIT_MISSING_INPUT,
    EXIT_PERMISSION,
    Fault,
    KeyPath,
    UserError,
)
from orchestrator.expand import absolute, build_table, find_factors, missing_faults, size_faults
from orchestrator.filters import parse_filter
from orchestrator.overrides import apply_overrides
from orchestrator.spec_model import MAX_AXIS, PLACES, SHORT_FORMS, Resources, SweepSpec
from orchestrator.spec_schema import json_schema
from orchestrator.spec_values import Seeds
from orchestrator.train_schedule import read_schedule
from orchestrator.wording import faults_of, nearest, show
from orchestrator.yaml_source import MAX_BYTES, decode, parse_yaml

__all__ = ["LoadedSpec", "Resources", "SweepSpec", "build", "json_schema", "load_spec", "load_text"]


@dataclass(frozen=True, kw_only=True)
class LoadedSpec:
    spec: SweepSpec
    text: str
    """The file as it was read, without the overrides."""
    path: Path


def load_spec(source: str | Path, overrides: Mapping[str, str] = {}) -> LoadedSpec:
    """Read a spec from a path, or a shipped one by its name; `overrides` are `--set` options by name.

    Raises SpecError with every problem, or UserError if there is nothing to read."""
    path = _find(source)
    text = decode(_read(path), str(path))
    return load_text(text, path, overrides)


def load_text(text: str, path: str | Path = "spec", overrides: Mapping[str, str] = {}) -> LoadedSpec:
    """As load_spec, from the text of a file; `path` is what messages call it."""
    source = parse_yaml(text, str(path))
    place_folders(source.data, Path(path).parent)
    faults = apply_overrides(source, overrides)
    faults += identify_code(source.data)
    spec, found = build(source.data)
    if spec is None or faults or found or source.faults:
        raise source.error([*faults, *found])
    return LoadedSpec(spec=spec, text=text, path=Path(path))


def build(data: Any) -> tuple[SweepSpec | None, list[Fault]]:
    """A spec from plain data, and what is wrong with it (the spec is then not to be used)."""
    if not isinstance(data, dict):
        return None, [Fault((), f"a spec is a mapping of keys, this is {show(data)}")]
    prepared, faults = _prepare(data)
    spec, found = _validate(prepared)
    faults += found
    if spec is None:
        return None, faults
    faults += _classifier_faults(spec)
    return spec, faults + _together(spec, faults)


# Finding and reading


def place_folders(data: Any, base: Path) -> None:
    """Make the folders and files of data that a spec names absolute, in place: relative ones are meant from the spec's
    own folder."""
    if not isinstance(data, dict):
        return
    axes = [data[section].get("task") for section in ("grid", "zip") if isinstance(data.get(section), dict)]
    if isinstance(data.get("code"), str):
        data["code"] = absolute(data["code"], base)
    for block in [
        data.get("task"),
        data.get("code"),
        *(entry for axis in axes if isinstance(axis, list) for entry in axis),
    ]:
        for key in ("folder", "file"):
            if isinstance(block, dict) and isinstance(block.get(key), str):
                block[key] = absolute(block[key], base)


def _find(source: str | Path) -> Path:
    path = Path(source)
    if isinstance(source, Path) or path.suffix in (".yaml", ".yml") or len(path.parts) != 1 or path.is_file():
        return path
    return shipped.path_of(source)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        hint = "`grokctl specs` lists the specs that come with grokctl."
        raise UserError(f"there is no file {path}", exit_code=EXIT_MISSING_INPUT, hint=hint) from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder, not a spec", exit_code=EXIT_MISSING_INPUT) from None
    except PermissionError:
        raise UserError(f"no permission to read {path}", exit_code=EXIT_PERMISSION) from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}", exit_code=EXIT_IO) from None


# Each key by itself


def _prepare(data: Mapping[str, Any]) -> tuple[dict[str, Any], list[Fault]]:
    """Short forms and axes written out. An axis that is wrong is left out."""
    prepared = dict(data)
    for block, key in SHORT_FORMS.items():
        if isinstance(data.get(block), str):
            prepared[block] = {key: data[block]}
    faults: list[Fault] = []
    if isinstance(data.get("train_size"), list):
        found = _schedule(prepared, data)
        faults += found
    for section in ("grid", "zip"):
        if isinstance(data.get(section), dict):
            prepared[section], found = _axes(data[section], section)
            faults += found
    sample = data.get("sample")
    if isinstance(sample, dict) and isinstance(sample.get("axes"), dict):
        axes, found = _distributions(sample["axes"])
        prepared["sample"] = {**sample, "axes": axes}
        faults += found
    if "seeds" in data:
        prepared["seeds"], found = _seeds(data["seeds"], prepared)
        faults += found
    return prepared, faults


def _schedule(prepared: dict[str, Any], data: Mapping[str, Any]) -> list[Fault]:
    """Write out a list of train sizes, in place."""
    del prepared["train_size"]
    sizes, faults = read_schedule(data["train_size"], ("train_size",))
    if "train_size_before" in data:
        message = "train_size is a list, which says what comes before; leave this out"
        faults.append(Fault(("train_size_before",), message))
    prepared.update(sizes)
    return faults


def _axes(written: Mapping[str, Any], section: str) -> tuple[dict[str, Any], list[Fault]]:
    axes: dict[str, Any] = {}
    faults: list[Fault] = []
    for name, form in written.items():
        values, found = axis_values(name, form, (section, name), distinct=section == "grid")
        faults += found
        if not found:
            axes[name] = values
    lengths = {name: len(values) for name, values in axes.items()}
    if section == "zip" and len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        return {}, [*faults, Fault((section,), f"axes that move together are equally long; {listed}", at_key=True)]
    return axes, faults


def _distributions(written: Mapping[str, Any]) -> tuple[dict[str, Any], list[Fault]]:
    axes: dict[str, Any] = {}
    faults: list[Fault] = []
    if not written:
        faults.append(Fault(("sample", "axes"), "names no axis"))
    for name, form in written.items():
        how, found = distribution(name, form, ("sample", "axes", name))
        faults += found
        if not found:
            axes[name] = how
    return axes, faults


def _seeds(written: Any, prepared: Mapping[str, Any]) -> tuple[tuple[int, ...], list[Fault]]:
    """A count or a list."""
    path: KeyPath = ("seeds",)
    if isinstance(written, int) and not isinstance(written, bool):
        if not 1 <= written <= MAX_AXIS:
            return (0,), [Fault(path, f"a count of seeds lies between 1 and {MAX_AXIS:,}; this is {written}")]
        seeds = tuple(range(written))
    elif isinstance(written, list):
        try:
            seeds = _SEEDS.validate_python(written, strict=True)
        except ValidationError as error:
            return (0,), faults_of(error, prefix=path)
    else:
        return (0,), [Fault(path, f"should be a count or a list of whole numbers, is {show(written)}")]
    if len(set(seeds)) < len(seeds):
        return (0,), [Fault(path, "a seed appears twice")]
    sample = prepared.get("sample")
    sections = [prepared.get("grid"), prepared.get("zip"), sample.get("axes") if isinstance(sample, dict) else None]
    if seeds != (0,) and any("seed" in section for section in sections if isinstance(section, dict)):
        return (0,), [Fault(path, "seed is an axis already; leave out one of the two")]
    return seeds, []


_SEEDS: TypeAdapter[tuple[int, ...]] = TypeAdapter(Seeds)


def _validate(prepared: dict[str, Any]) -> tuple[SweepSpec | None, list[Fault]]:
    """The spec; if something is wrong, the spec without it."""
    try:
        return SweepSpec.model_validate(prepared), []
    except ValidationError as error:
        faults = faults_of(error, SweepSpec, places=PLACES)
        rest = _without(prepared, [details["loc"] for details in error.errors(include_url=False)])
    try:
        return SweepSpec.model_validate(rest), faults
    except ValidationError:
        return None, faults


def _without(prepared: Mapping[str, Any], locations: list[KeyPath]) -> dict[str, Any]:
    """A copy without the keys at these places; a block that lacks a key goes as a whole."""
    rest: dict[str, Any] = {**copy.deepcopy(dict(prepared))}
    rest.setdefault("name", "unnamed")
    for location in locations:
        holder: Any = rest
        trail: list[tuple[dict[str, Any], str]] = []
        for part in location:
            if not isinstance(holder, dict) or part not in holder:
                break
            trail.append((holder, str(part)))
            holder = holder[part]
        if trail:
            owner, key = trail[-1]
            del owner[key]
    rest.setdefault("name", "unnamed")
    return rest


def _classifier_faults(spec: SweepSpec) -> list[Fault]:
    from results.classify.settings import ClassifierSettings

    try:
        ClassifierSettings.model_validate(spec.classifier)
    except ValidationError as error:
        return faults_of(error, ClassifierSettings, prefix=("classifier",))
    return []


# The keys together


def _together(spec: SweepSpec, faults: list[Fault]) -> list[Fault]:
    broken = _broken_names(faults)
    if broken is None or (spec.where and parse_filter(spec.where).names & broken):
        known = {fault.path for fault in faults}
        return [fault for fault in missing_faults(spec) if fault.path not in known]
    placeholders: dict[str, Any] = {name: 1 for name in ("steps", "train_size") if name in broken}
    rest = spec.model_copy(update=placeholders)
    factors = find_factors(rest)
    found = size_faults(rest, factors)
    if found:
        return found
    table, found = build_table(rest, factors)
    if found:
        return [] if broken else found
    return check(table, rest, broken)


def _broken_names(faults: list[Fault]) -> set[str] | None:
    """The hyperparameters that faults leave unknown; None if they leave everything unknown."""
    broken: set[str] = set()
    for fault in faults:
        names = _names_at(fault)
        if names is None:
            return None
        broken |= names
    if "betas" in broken:
        broken |= {"beta1", "beta2"}
    return broken | ({name for name, place in PLACES.items() if place[0] == "task"} if "task" in broken else set())


def _names_at(fault: Fault) -> set[str] | None:
    """The hyperparameters that one fault leaves unknown; None if there is no telling."""
    match fault.path:
        case ("grid" | "zip", name, *_) | ("sample", "axes", name, *_):
            return {str(name)}
        case ("seeds", *_):
            return {"seed"}
        case ("name" | "diagram" | "classifier" | "resources" | "keep", *_):
            return set()
    names = {name for name, place in PLACES.items() if _overlap(place, fault.path)}
    if not names and fault.at_key:  # an unknown key: what was it probably written for?
        close = nearest(str(fault.path[-1]), PLACES)
        return set() if close is None else {close}
    return names or None


def _overlap(place: KeyPath, path: KeyPath) -> bool:
    length = min(len(place), len(path))
    return place[:length] == path[:length]
