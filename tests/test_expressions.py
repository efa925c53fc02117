"""The expression language: what is allowed, what it computes, and that nothing else gets through."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainers.expressions import MAX_DEPTH, MAX_LENGTH, ExpressionError, parse

AB = frozenset("ab")


def table(text, p):
    """{(a, b): value} over Z_p, where it is defined."""
    a, b = np.divmod(np.arange(p * p), p)
    value, defined = parse(text, AB).evaluate_mod({"a": a, "b": b}, p)
    return {(int(x), int(y)): int(v) for x, y, v, d in zip(a, b, value, defined, strict=True) if d}


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("a+b", "a + b"),
        ("(a + b)", "a + b"),
        ("  a +\n b ", "a + b"),
        ("(a+b)**2", "(a + b) ** 2"),
        ("a/b if(b%2)else a-b", "a / b if b % 2 else a - b"),
        ("a in(1,)", "a in (1,)"),
    ],
)
def test_canonical_text(written, canonical):
    assert parse(written, AB).text == canonical
    assert parse(canonical, AB).text == canonical
    assert parse(written, AB) == parse(canonical, AB)


def test_names_are_collected():
    assert parse("a * a + 1", AB).names == {"a"}


@pytest.mark.parametrize("p", [7, 10])
@pytest.mark.parametrize(
    ("text", "truth"),
    [
        ("a + b", lambda a, b, p: a + b),
        ("a - b", lambda a, b, p: a - b),
        ("-a", lambda a, b, p: -a),
        ("a * b", lambda a, b, p: a * b),
        ("a**3 + a * b**2 + b", lambda a, b, p: a**3 + a * b**2 + b),
        ("a ** b", lambda a, b, p: a**b),
        ("2 ** a", lambda a, b, p: 2**a),
        ("(a + b) ** 2", lambda a, b, p: (a + b) ** 2),
        ("a * b + 1000003", lambda a, b, p: a * b + 1000003),
        # Parity and size are those of the plain integers, not of residues.
        ("(a + b) % 5", lambda a, b, p: (a + b) % 5),
        ("(a + b) // 2", lambda a, b, p: (a + b) // 2),
        ("a if a < b else b", lambda a, b, p: min(a, b)),
        ("a + b if b % 2 else a - b", lambda a, b, p: a + b if b % 2 else a - b),
        ("a if a in (1, 3) or not b else 0", lambda a, b, p: a if a in (1, 3) or not b else 0),
        ("0 < a <= b", lambda a, b, p: int(0 < a <= b)),
    ],
)
def test_residues_equal_python_on_integers(text, truth, p):
    assert table(text, p) == {(a, b): truth(a, b, p) % p for a in range(p) for b in range(p)}


@pytest.mark.parametrize("p", [7, 12])
def test_division_inverts_multiplication_and_is_defined_where_an_inverse_is(p):
    quotients = table("a / b", p)
    assert {b for _, b in quotients} == {b for b in range(p) if np.gcd(b, p) == 1}
    assert all(q * b % p == a for (a, b), q in quotients.items())


def test_a_conditional_is_defined_where_its_branch_is():
    quotients = table("a / b if b % 2 else a - b", 8)
    assert len(quotients) == 64
    assert quotients[3, 2] == 1
    assert quotients[1, 3] == 3


def test_dividing_plain_integers_by_zero_is_undefined():
    assert {b for _, b in table("a % b", 5)} == {1, 2, 3, 4}


@pytest.mark.parametrize("text", ["0.5 * a", "a ** (0 - b)", "(a / 2) % 2", "(a ** 60) % 3"])
def test_what_is_no_whole_number_of_64_bits_is_refused_in_a_task(text):
    with pytest.raises(ExpressionError):
        table(text, 97)


def holds(text, **env):
    return parse(text, frozenset(env)).holds(env).tolist()


def test_filters_read_columns():
    width, size = np.array([4, 8, 100]), np.array([3000, 50, 999])
    assert holds("width * 10 <= train_size", width=width, train_size=size) == [True, False, False]
    assert holds("4 < width < 100", width=width) == [False, True, False]
    assert holds("width in (4, 100) and not train_size == 999", width=width, train_size=size) == [True, False, False]
    assert holds("width not in (4, 8)", width=width) == [False, False, True]
    assert holds("(1 if width > 4 else 2) == 2", width=width) == [True, False, False]
    assert holds("width / 8 >= 0.5 or width % 8 == 0", width=3) is False


def test_filters_read_text():
    task = np.array(["a + b", "a * b"], dtype=object)
    assert holds("task == 'a + b'", task=task) == [True, False]
    assert holds("task in ('a * b', 'x')", task=task) == [False, True]
    assert holds("task != 'a + b' and optimizer == 'adamw'", task=task, optimizer="adamw") == [False, True]


def test_a_missing_number_compares_as_false():
    values = np.array([None, 0.5], dtype=object)
    assert holds("x < 1", x=values) == [False, True]
    assert holds("x >= 0", x=values) == [False, True]
    assert holds("1 / x > 0", x=np.array([0, 2])) == [False, True]
    assert holds("1 // x >= 0", x=np.array([0, 2])) == [False, True]


@pytest.mark.parametrize("text", ["x + 'a'", "x == 'a'", "-name", "name < 3", "name + 1", "(x if x else 'a') == 1"])
def test_text_and_numbers_do_not_mix(text):
    with pytest.raises(ExpressionError):
        holds(text, x=np.array([1, 2]), name=np.array(["u", "v"]))


def test_integers_do_not_wrap_around():
    with pytest.raises(ExpressionError, match="64 bits"):
        holds("x * x * x > 0", x=np.array([2**40]))


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("a + f(b)", 4, "a call"),
        ("  a.real", 2, "an attribute"),
        ("a + b[0]", 4, "a subscript"),
        ("(lambda: a)()", 0, "a call"),
        ("a + (lambda: 1)", 5, "a lambda"),
        ("a + c", 4, "unknown name 'c'; known: a, b"),
        ("a in (4)", 6, r"\(4,\)"),
        ("a in b", 5, "in parentheses"),
        ("(a, b)", 0, "a tuple"),
        ("[a for a in b]", 0, "ListComp"),
        ("a is b", 5, "=="),
        ("a & b", 0, "this operator"),
        ("~a", 0, "this operator"),
        ("a + True", 4, "True"),
        ("a + None", 4, "None"),
        ("a + 1j", 4, "1j"),
        ("a ** 1001", 5, "at most 1000"),
        ("a + 99999999999999999999", 4, "too large"),
        ("1e999", 0, "too large"),
        ("(a := 1)", 1, "an assignment"),
        ("f'{a}'", 0, "a formatted text"),
        ("a +", 3, "not an expression"),
        ("a b", 2, "not an expression"),
        ("a; b", 1, "not an expression"),
        ("", 0, "empty"),
        ("a + é", 4, "ASCII"),
        ("a\0", 1, "ASCII"),
        ("await a", 0, "Await"),
        ("*a", 0, "not an expression"),
    ],
)
def test_everything_else_is_refused_at_its_column(text, column, message):
    with pytest.raises(ExpressionError, match=message) as caught:
        parse(text, AB)
    assert caught.value.column == column


@pytest.mark.parametrize(
    "text",
    ["a + " * MAX_LENGTH + "a", "-" * (MAX_DEPTH + 1) + "a", "(" * 500 + "a", "-" * 990 + "a", "not " * 200 + "a"],
)
def test_size_and_depth_are_bounded(text):
    with pytest.raises(ExpressionError):
        parse(text, AB)


PIECES = [
    "a",
    "b",
    "1",
    "2",
    "0.5",
    "'x'",
    "+",
    "-",
    "*",
    "/",
    "//",
    "%",
    "**",
    "(",
    ")",
    ",",
    " in ",
    " not ",
    "<",
    "==",
]
WORDS = [" if ", " else ", " and ", " or ", " ", ".", "[", "]", "lambda:", "\n", "#", "\\", "\0", "9" * 20]


def tried(text):
    """An expression, or the error that it raises when read or evaluated."""
    pairs = {"a": np.arange(6), "b": np.arange(6)[::-1]}
    try:
        expression = parse(text, AB)
        expression.holds(pairs)
        value, defined = expression.evaluate_mod(pairs, 6)
    except ExpressionError as error:
        return error
    assert value.shape == defined.shape
    assert ((value >= 0) & (value < 6)).all()
    return expression


@given(st.one_of(st.text(max_size=60), st.lists(st.sampled_from(PIECES + WORDS), max_size=20).map("".join)))
def test_any_text_is_an_expression_or_an_expression_error(text):
    found = tried(text)
    if isinstance(found, ExpressionError):
        assert 0 <= found.column <= len(text)
    else:
        assert parse(found.text, AB) == found
