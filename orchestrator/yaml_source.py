"""A spec file as plain data, with the position of every key and value.

The YAML is a strict subset of 1.2: one document, text keys, no tags, anchors or aliases, no key twice, bounded size and
depth. Scalars follow the 1.2 core schema, so `1e-3` is a number and `on` is text (YAML 1.1, which PyYAML resolves by
default, has both the other way round). Values are built here from PyYAML's events, which carry the marks; nothing is
constructed from tags, and nothing that a parser can expand (aliases) is ever expanded.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from orchestrator.errors import Fault, KeyPath, Position, Problem, SpecError

MAX_BYTES = 256 * 1024
MAX_DEPTH = 12
MAX_DIGITS = 30
MAX_PROBLEMS = 40
"""That are shown at once; a spec with more is another kind of file, or meant ill."""
EXCERPT_WIDTH = 100

_NULL = re.compile(r"~|null|Null|NULL|")
_TRUE = re.compile(r"true|True|TRUE")
_FALSE = re.compile(r"false|False|FALSE")
_INTEGER = re.compile(r"[-+]?[0-9]+")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


@dataclass(kw_only=True)
class YamlSource:
    """One parsed document. `data` is plain dicts, lists and scalars; faults of structure are collected, not raised."""

    name: str
    """What messages call the file."""
    text: str
    data: Any = None
    keys: dict[KeyPath, Position] = field(default_factory=dict)
    values: dict[KeyPath, Position] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    overridden: dict[KeyPath, str] = field(default_factory=dict)
    """Paths whose value came from the command line, and the option that set them."""

    def error(self, faults: list[Fault]) -> SpecError:
        """All faults in the order of the file, each located; those below a fault of structure are its consequences."""
        broken = {fault.path for fault in self.faults}
        consequences = [f for f in faults if not any(f.path[:n] in broken for n in range(1, len(f.path) + 1))]
        located = [(self._position(fault), fault) for fault in [*self.faults, *consequences]]
        located.sort(key=lambda pair: (pair[0].line, pair[0].column))
        problems = [self._problem(position, fault) for position, fault in located[:MAX_PROBLEMS]]
        if len(located) > MAX_PROBLEMS:
            more = f"and {len(located) - MAX_PROBLEMS:,} more problems"
            problems.append(Problem(where=self.name, path="", message=more))
        return SpecError(problems)

    def _position(self, fault: Fault) -> Position:
        """Of the value, or of the nearest thing around it that the file has."""
        if fault.position is not None:
            return fault.position
        first = self.keys if fault.at_key else self.values
        if fault.path in first:
            position = first[fault.path]
            return Position(position.line, position.column + fault.offset)
        for length in range(len(fault.path), 0, -1):
            for positions in (self.keys, self.values):
                if fault.path[:length] in positions:
                    return positions[fault.path[:length]]
        return Position(0, 0)

    def _problem(self, position: Position, fault: Fault) -> Problem:
        path = ".".join(str(part) for part in fault.path)
        option = fault.where or next((o for p, o in self.overridden.items() if fault.path[: len(p)] == p), "")
        if option:
            return Problem(where=option, path=path, message=fault.message)
        where = f"{self.name}:{position.line + 1}:{position.column + 1}"
        return Problem(where=where, path=path, message=fault.message, excerpt=self._excerpt(position))

    def _excerpt(self, position: Position) -> str:
        lines = self.text.splitlines()
        if position.line >= len(lines):
            return ""
        start = max(0, position.column - EXCERPT_WIDTH * 3 // 4)
        line = "".join(c if c.isprintable() else " " for c in lines[position.line][start : start + EXCERPT_WIDTH])
        return f"    {line}\n    {' ' * (position.column - start)}^"


def decode(raw: bytes, name: str) -> str:
    """The text of a spec file. Raises SpecError for what is not UTF-8 text of a sensible size."""
    if len(raw) > MAX_BYTES:
        _refuse(name, f"a spec may have {MAX_BYTES // 1024} KiB, this file has {len(raw) // 1024}")
    if b"\0" in raw:
        _refuse(name, "this is a binary file, not a spec in YAML")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        _refuse(f"{name}:{line}", "this is not UTF-8 text; is it a binary file?")


def parse_yaml(text: str, name: str) -> YamlSource:
    """Parse one document. Raises SpecError for a syntax error; collects what is well formed but not allowed."""
    source = YamlSource(name=name, text=text)
    try:
        _Builder(source, yaml.SafeLoader(text)).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        position = Position(mark.line, mark.column) if mark else Position(0, 0)
        what = " ".join(part for part in (error.context, error.problem) if part)
        raise SpecError([source._problem(position, Fault((), f"not YAML: {what}"))]) from None
    except yaml.reader.ReaderError as error:
        position = _position_of(text, error.position)
        message = f"not YAML: character {chr(error.character)!r} is not allowed"
        raise SpecError([source._problem(position, Fault((), message))]) from None
    return source


def parse_value(text: str) -> Any:
    """One value as it stands after `--set name=`. Raises SpecError."""
    source = parse_yaml(text, "value")
    if source.faults:
        raise source.error([])
    return source.data


def _refuse(where: str, message: str) -> NoReturn:
    raise SpecError([Problem(where=where, path="", message=message)])


def _position_of(text: str, index: int) -> Position:
    before = text[:index]
    return Position(before.count("\n"), index - (before.rfind("\n") + 1))


class _Builder:
    """Events to data, one at a time: a fault ends the reading before a deep nest is parsed. Recursion is bounded by
    MAX_DEPTH."""

    def __init__(self, source: YamlSource, loader: yaml.SafeLoader) -> None:
        self.source = source
        self.loader = loader

    def next(self) -> Event:
        try:
            event: Event = self.loader.get_event()  # type: ignore[no-untyped-call]
        except (ValueError, OverflowError):  # PyYAML on escapes beyond Unicode and absurd %YAML versions
            problem = "an escape or directive here holds a number out of range"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=self.loader.get_mark()) from None
        return event

    def document(self) -> None:
        self.next()  # the stream's start
        if not isinstance(self.next(), DocumentStartEvent):
            return
        self.source.data = self.value(self.next(), ())
        self.next()  # the document's end
        following = self.next()
        if isinstance(following, DocumentStartEvent):
            self.fault((), "a second document begins here; a spec is one document", following)

    def value(self, event: Event, path: KeyPath) -> Any:
        self.source.values.setdefault(path, _start(event))
        if isinstance(event, AliasEvent):
            self.fault(path, f"alias *{event.anchor} is not allowed in a spec; write the value out", event)
            return None
        self.refuse_decorations(event, path)
        if isinstance(event, ScalarEvent):
            return self.scalar(event, path)
        if len(path) >= MAX_DEPTH:
            here: Any = event.start_mark
            raise yaml.MarkedYAMLError(problem=f"nested more than {MAX_DEPTH} deep", problem_mark=here)
        if isinstance(event, MappingStartEvent):
            return self.mapping(path)
        assert isinstance(event, SequenceStartEvent)
        return self.sequence(path)

    def mapping(self, path: KeyPath) -> dict[str, Any]:
        data: dict[str, Any] = {}
        while not isinstance(event := self.next(), MappingEndEvent):
            key = self.key(event, path)
            is_new = key is not None and key not in data
            place = (*path, key if key is not None else "?")
            if is_new:
                self.source.keys[place] = _start(event)
            elif key is not None:
                first = self.source.keys[place].line + 1
                self.fault(place, f"key {key!r} appears twice, first in line {first}", event)
            value = self.value(self.next(), place)
            if is_new and key is not None:
                data[key] = value
        return data

    def key(self, event: Event, path: KeyPath) -> str | None:
        if isinstance(event, ScalarEvent):
            self.refuse_decorations(event, path)
            value = self.scalar(event, path)
            if isinstance(value, str):
                return value
            self.fault((*path, event.value), f"key {event.value!r} is not text; put it in quotes if it is meant", event)
            return None
        self.fault((*path, "?"), "a key must be text", event)
        if not isinstance(event, AliasEvent):
            self.value(event, (*path, "?"))
        return None

    def sequence(self, path: KeyPath) -> list[Any]:
        data: list[Any] = []
        while not isinstance(event := self.next(), SequenceEndEvent):
            data.append(self.value(event, (*path, len(data))))
        return data

    def scalar(self, event: ScalarEvent, path: KeyPath) -> Any:
        try:  # JSON, which is YAML, escapes a character beyond 16 bits as its two halves
            text = event.value.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
        except UnicodeDecodeError:
            self.fault(path, "an escape stands for half a character", event)
            return None
        if event.style is not None:
            return text
        if _INTEGER.fullmatch(text) or _BASED.fullmatch(text):
            if len(text) > MAX_DIGITS:
                self.fault(path, f"a number may have {MAX_DIGITS} digits", event)
                return None
            return int(text, 0) if _BASED.fullmatch(text) else int(text)
        return _plain_scalar(text)

    def refuse_decorations(self, event: Event, path: KeyPath) -> None:
        anchor, tag = getattr(event, "anchor", None), getattr(event, "tag", None)
        if anchor is not None:
            self.fault(path, f"anchor &{anchor} is not allowed in a spec", event)
        if tag is not None:
            self.fault(path, f"tag {tag} is not allowed in a spec", event)

    def fault(self, path: KeyPath, message: str, event: Event) -> None:
        self.source.faults.append(Fault(path, message, position=_start(event)))


def _start(event: Event) -> Position:
    assert event.start_mark is not None, "events of a parser have marks"
    return Position(event.start_mark.line, event.start_mark.column)


def _plain_scalar(text: str) -> Any:
    if _NULL.fullmatch(text):
        return None
    if _TRUE.fullmatch(text):
        return True
    if _FALSE.fullmatch(text):
        return False
    if _FLOAT.fullmatch(text):
        return float(text)
    if _SPECIAL.fullmatch(text):
        return float(text.replace(".", "", 1))
    return text


def plain(data: Any) -> Any:
    """Mappings as dicts and tuples as lists, all the way down."""
    if isinstance(data, Mapping):
        return {str(key): plain(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [plain(value) for value in data]
    return data
