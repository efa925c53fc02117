"""The YAML of specs: a strict subset of 1.2, and where everything stands."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import Fault, Position, SpecError
from orchestrator.yaml_source import MAX_BYTES, decode, parse_value, parse_yaml


def data(text):
    source = parse_yaml(text, "f.yaml")
    assert source.faults == []
    return source.data


def refusal(text):
    """What is said about the structure of a text; nothing if all is well."""
    try:
        source = parse_yaml(text, "f.yaml")
    except SpecError as error:
        return str(error)
    return str(source.error([]))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1e5", 1e5),
        ("-2E+3", -2000.0),
        ("1.", 1.0),
        (".5", 0.5),
        ("-12", -12),
        ("+3", 3),
        ("010", 10),
        ("0x1F", 31),
        ("0o17", 15),
        ("-.inf", float("-inf")),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("on", "on"),
        ("yes", "yes"),
        ("1_000", "1_000"),
        ("12:30", "12:30"),
        ("2024-01-01", "2024-01-01"),
        ("'1'", "1"),
        ('"\\u00e9"', "é"),
        ('"\\ud83d\\ude00"', "\U0001f600"),
        ("a + b", "a + b"),
        ("1e", "1e"),
        ("[1, [a, {}]]", [1, ["a", {}]]),
        ("|\n  a\n  b", "a\nb"),
    ],
)
def test_scalars_follow_the_core_schema_of_1_2(text, value):
    found = parse_value(text)
    assert found == value
    assert type(found) is type(value)


def test_nan_is_a_number():
    assert str(parse_value(".nan")) == "nan"


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("a: &x 1", "1:4", "anchor &x"),
        ("a: 1\nb: *x", "2:4", "alias *x"),
        ("a: !!float 1", "1:4", "tag"),
        ("a: ! x", "1:4", "tag"),
        ("a: 1\nb: 2\na: 3", "3:1", "'a' appears twice, first in line 1"),
        ("a:\n  b: 1\n  'b': 2", "3:3", "'b' appears twice"),
        ("a: 1\n---\nb: 2", "2:1", "second document"),
        ("1: 2", "1:1", "not text"),
        ("[a]: 2", "1:1", "must be text"),
        ("? {a: 1}\n: 2", "1:3", "must be text"),
        ("a: [1,", "1:7", "not YAML"),
        ("a: 1\n\tb: 2", "2:1", "not YAML"),
        ("a: " + "[" * 5000, "1:15", "nested more than 12"),
        ("a: " + "9" * 31, "1:4", "30 digits"),
        ('a: "\\ud800"', "1:4", "half a character"),
        ('a: "\\ude00\\ud83d"', "1:4", "half a character"),
        ('a: "\\Uffffffff"', "1:7", "out of range"),
        ("a: b\x07", "1:5", "is not allowed"),
        ("%YAML 1." + "9" * 5000 + "\n---\na: 1", "1:9", "out of range"),
    ],
)
def test_what_is_not_allowed_is_located(text, place, message):
    found = refusal(text)
    assert found.startswith(f"f.yaml:{place}: ")
    assert message in found


def test_all_faults_of_structure_are_reported_at_once():
    found = refusal("a: &x 1\nb: *x\nb: 2\n3: 4\n---\nc: 5")
    assert [line.split(":")[1] for line in found.splitlines() if line.startswith("f.yaml")] == ["1", "2", "3", "4", "5"]


def test_an_alias_bomb_is_refused_before_it_grows():
    bomb = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30))
    assert "alias" in refusal(bomb)


def test_positions_of_keys_and_values():
    source = parse_yaml("a: 1\nb:\n  - x\n  - {c: 2}\n", "f.yaml")
    assert source.keys["b",] == Position(1, 0)
    assert source.values["b", 0] == Position(2, 4)
    assert source.keys["b", 1, "c"] == Position(3, 5)
    assert source.values["b", 1, "c"] == Position(3, 8)


def test_a_problem_shows_its_line_with_a_caret():
    source = parse_yaml("a: 1\nb: {c: what}\n", "f.yaml")
    error = source.error([Fault(("b", "c"), "wrong"), Fault(("b", "d"), "missing"), Fault(("a",), "bad", at_key=True)])
    assert str(error) == (
        "f.yaml:1:1: a: bad\n    a: 1\n    ^\n"
        "f.yaml:2:1: b.d: missing\n    b: {c: what}\n    ^\n"
        "f.yaml:2:8: b.c: wrong\n    b: {c: what}\n           ^"
    )


def test_long_lines_are_cut_around_the_caret():
    source = parse_yaml("a: [" + "1, " * 200 + "x]", "f.yaml")
    line, caret = source.error([Fault(("a", 200), "wrong")]).problems[0].excerpt.splitlines()
    assert len(line) <= 104
    assert line[len(caret) - 1] == "x"


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"\x89PNG\0\0", "binary"),
        (b"name: a\n\xff\xfe", "f.yaml:2: this is not UTF-8"),
        ("name: x".encode("utf-16"), "binary"),
        (b"#" * (MAX_BYTES + 1), "256 KiB"),
    ],
)
def test_only_utf8_text_of_sensible_size_is_read(raw, message):
    with pytest.raises(SpecError, match=message):
        decode(raw, "f.yaml")


def test_a_byte_order_mark_is_no_part_of_the_text():
    assert decode(b"\xef\xbb\xbfname: x", "f.yaml") == "name: x"


SCALARS = st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.floats(allow_nan=False, allow_infinity=False)
TEXT = st.text(st.characters(codec="ascii", categories=("L", "N", "P", "Zs")), max_size=8)


@given(st.dictionaries(TEXT, st.recursive(SCALARS | TEXT, lambda inner: st.lists(inner, max_size=3), max_leaves=6)))
def test_what_json_holds_comes_back(value):
    assert data(json.dumps(value)) == value


ALPHABET = "abc01.-:,[]{}&*!|>'\"%@`#?~ \n\t\\e\x07é\ud800"


@given(st.text(max_size=80) | st.text(ALPHABET, max_size=60))
def test_any_text_is_yaml_or_a_spec_error(text):
    message = refusal(text)
    assert message == "" or message.startswith("f.yaml:")


@given(st.binary(max_size=60))
def test_any_bytes_are_text_or_a_spec_error(raw):
    with contextlib.suppress(SpecError):
        assert isinstance(decode(raw, "f.yaml"), str)
