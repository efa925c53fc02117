"""The expression language: task operations such as `a / b if b % 2 else a - b`, and filters such as
`width * 10 <= train_size`.

The text is parsed into Python's syntax tree, checked against one whitelist and then interpreted here, on numpy arrays.
Nothing is ever evaluated as code. The same tree has two readings:

- plain (`evaluate`, `holds`): ordinary numbers and text, as in a filter. Dividing by zero gives NaN, and a comparison
  with NaN is false.
- in a group (`evaluate_group`): `*` is its operation, `/` multiplies by the inverse, and exponents are whole constants.
- modular (`evaluate_mod`): + - * / ** are those of Z_p, `/` by the inverse. Whatever asks for the size of a number
  (% // comparisons, conditions, exponents) reads the plain integers 0..p-1, so `b % 2` is the parity of b.

The canonical text is the one that `ast.unparse` writes: `a+b` and `(a + b)` are the same task.
"""

import ast
import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, reduce
from typing import Any

import numpy as np
import numpy.typing as npt

MAX_LENGTH = 1000
MAX_DEPTH = 60
MAX_EXPONENT = 1000
MAX_INTEGER = 2**63 - 1
ALLOWED = "numbers, text in quotes, names, + - * / // % **, comparisons, `in (1, 2)`, and/or/not, and `x if y else z`"
OPERANDS = frozenset("ab")
"""Names that a task's operation uses."""
GROUP_ALLOWED = "`a * b`, `a / b`, `a * b * a ** -1`"

Array = npt.NDArray[Any]

_ARITHMETIC: dict[type[ast.operator], Callable[..., Any]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.true_divide,
    ast.FloorDiv: np.floor_divide,
    ast.Mod: np.mod,
    ast.Pow: np.power,
}
_COMPARISON: dict[type[ast.cmpop], Callable[..., Any]] = {
    ast.Eq: np.equal,
    ast.NotEq: np.not_equal,
    ast.Lt: np.less,
    ast.LtE: np.less_equal,
    ast.Gt: np.greater,
    ast.GtE: np.greater_equal,
}


class ExpressionError(ValueError):
    """What is wrong with an expression, and at which column of its text (from 0)."""

    def __init__(self, message: str, column: int) -> None:
        super().__init__(message)
        self.message = message
        self.column = column


@dataclass(frozen=True, kw_only=True, eq=False)
class Group:
    """A finite group, its elements numbered."""

    product: npt.NDArray[np.int64]
    """(n, n): the number of left times right."""
    inverse: npt.NDArray[np.int64]
    """(n,)"""


@dataclass(frozen=True)
class Expression:
    """A checked expression. Two of them are equal if their canonical texts are."""

    text: str
    """Canonical form."""
    names: frozenset[str] = field(compare=False)
    """The names it uses."""
    tree: ast.expr = field(compare=False, repr=False)

    def evaluate(self, env: Mapping[str, Any]) -> Array:
        """Plain value for names bound to numbers, text or equally long columns of them. Raises ExpressionError where
        text meets arithmetic or an integer outgrows 64 bits."""
        with np.errstate(all="ignore"):
            return _plain(self.tree, env)

    def holds(self, env: Mapping[str, Any]) -> npt.NDArray[np.bool_]:
        """Truth of the plain value, as a filter reads it."""
        return _truth(self.evaluate(env))

    def evaluate_mod(
        self, env: Mapping[str, npt.NDArray[np.int64]], modulus: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Value over Z_modulus for names bound to integers 0..modulus-1, and where it is defined: dividing needs an
        invertible divisor, which for a composite modulus not every non-zero number is. Undefined entries hold 0."""
        assert 2 <= modulus < 2**31  # products of residues must fit 64 bits
        with np.errstate(all="ignore"):
            value, defined = np.broadcast_arrays(*_modular(self.tree, env, modulus))
        return np.where(defined, value, 0).astype(np.int64), defined.astype(np.bool_)

    def evaluate_group(self, env: Mapping[str, npt.NDArray[np.int64]], group: Group) -> npt.NDArray[np.int64]:
        """Number of the result for names bound to numbers of elements. Raises ExpressionError for what a group has
        not."""
        return _in_group(self.tree, env, group)


def parse(text: str, names: frozenset[str]) -> Expression:
    """Check `text` against the whitelist and the allowed names. Raises ExpressionError."""
    tree = _syntax_tree(text)
    _check(tree, names, 0)
    used = frozenset(node.id for node in ast.walk(tree) if isinstance(node, ast.Name))
    return Expression(ast.unparse(tree), used, tree)


# Checking


def _syntax_tree(text: str) -> ast.expr:
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"an expression may have {MAX_LENGTH} characters, this one has {len(text)}", MAX_LENGTH)
    for column, character in enumerate(text):
        if character not in "\n\t" and not " " <= character <= "~":
            raise ExpressionError(f"character {character!r} is not plain ASCII", column)
    if not text.strip():
        raise ExpressionError("the expression is empty", 0)
    flat = text.replace("\n", " ").replace("\t", " ")
    indent = len(flat) - len(flat.lstrip())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(flat.strip(), mode="eval").body
    except SyntaxError as error:
        at_end = error.lineno != 1 or not error.offset  # Python points behind the end where something is missing
        column = len(flat.rstrip()) if at_end else min(indent + (error.offset or 1) - 1, len(text))
        raise ExpressionError(f"not an expression ({error.msg}); allowed: {ALLOWED}", column) from None
    except (RecursionError, MemoryError, ValueError):
        raise ExpressionError("nested too deeply", 0) from None
    for node in ast.walk(tree):
        if isinstance(node, ast.expr):
            node.col_offset += indent
    return tree


def _check(node: ast.expr, names: frozenset[str], depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ExpressionError(f"nested more than {MAX_DEPTH} deep", node.col_offset)
    for child in _children(node, names):
        _check(child, names, depth + 1)


def _children(node: ast.expr, names: frozenset[str]) -> list[ast.expr]:
    """The parts of an allowed node, or ExpressionError."""
    match node:
        case ast.Constant():
            _check_constant(node)
            return []
        case ast.Name(id=name):
            if name not in names:
                raise ExpressionError(f"unknown name {name!r}; known: {', '.join(sorted(names))}", node.col_offset)
            return []
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() | ast.Not(), operand=operand):
            return [operand]
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            if isinstance(op, ast.Pow):
                _check_exponent(right)
            return [left, right]
        case ast.BoolOp(values=values):
            return values
        case ast.Compare():
            return _check_comparison(node)
        case ast.IfExp(test=test, body=body, orelse=orelse):
            return [test, body, orelse]
    raise ExpressionError(f"{_describe(node)} is not allowed; allowed: {ALLOWED}", node.col_offset)


def _check_constant(node: ast.Constant) -> None:
    value = node.value
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ExpressionError(f"{value!r} is not allowed; allowed: {ALLOWED}", node.col_offset)
    if not isinstance(value, str) and (value > MAX_INTEGER or math.isinf(value)):
        raise ExpressionError("this number is too large", node.col_offset)


def _check_exponent(node: ast.expr) -> None:
    exponent = node.operand if isinstance(node, ast.UnaryOp) else node
    if isinstance(exponent, ast.Constant) and isinstance(exponent.value, int) and exponent.value > MAX_EXPONENT:
        raise ExpressionError(f"an exponent may be at most {MAX_EXPONENT}", node.col_offset)


def _check_comparison(node: ast.Compare) -> list[ast.expr]:
    parts = [node.left]
    for op, right in zip(node.ops, node.comparators, strict=True):
        if isinstance(op, ast.In | ast.NotIn):
            if not isinstance(right, ast.Tuple) or not right.elts:
                raise ExpressionError("after `in` write a list in parentheses, as (4, 8) or (4,)", right.col_offset)
            parts.extend(right.elts)
        elif type(op) in _COMPARISON:
            parts.append(right)
        else:
            raise ExpressionError("write == and != where Python has `is`", right.col_offset)
    return parts


def _describe(node: ast.expr) -> str:
    described: dict[type[ast.expr], str] = {
        ast.Call: "a call",
        ast.Attribute: "an attribute",
        ast.Subscript: "a subscript",
        ast.Lambda: "a lambda",
        ast.Tuple: "a tuple outside of `in`",
        ast.List: "a list",
        ast.BinOp: "this operator",
        ast.UnaryOp: "this operator",
        ast.NamedExpr: "an assignment",
        ast.JoinedStr: "a formatted text",
    }
    return described.get(type(node), f"a {type(node).__name__}")


# Plain values


def _plain(node: ast.expr, env: Mapping[str, Any]) -> Array:
    match node:
        case ast.Constant(value=value):
            return np.asarray(value)
        case ast.Name(id=name):
            return _column(env[name])
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return ~_truth(_plain(operand, env))
        case ast.UnaryOp(op=op, operand=operand):
            number = _number(_plain(operand, env), node)
            return -number if isinstance(op, ast.USub) else number
        case ast.BinOp(left=left, op=op, right=right):
            return _calculate(node, op, _number(_plain(left, env), left), _number(_plain(right, env), right))
        case ast.BoolOp(op=op, values=values):
            join = np.logical_and if isinstance(op, ast.And) else np.logical_or
            return np.asarray(reduce(join, [_truth(_plain(value, env)) for value in values]))
        case ast.Compare():
            return _compare(node, env)
        case ast.IfExp(test=test, body=body, orelse=orelse):
            chosen, other = _alike(_plain(body, env), _plain(orelse, env), node)
            return np.where(_truth(_plain(test, env)), chosen, other)
    raise AssertionError(f"unchecked node {ast.dump(node)}")


def _column(value: Any) -> Array:
    """Columns of Python objects hold text, or numbers with gaps (None), which are read as NaN."""
    array = np.asarray(value)
    if array.dtype.kind != "O":
        return array
    is_text = any(isinstance(entry, str) for entry in array.flat)
    return array.astype(str) if is_text else array.astype(np.float64)


def _is_text(value: Array) -> bool:
    return value.dtype.kind == "U"


def _truth(value: Array) -> npt.NDArray[np.bool_]:
    if _is_text(value):
        return np.asarray(value != "")
    return np.asarray((value != 0) & (value == value))


def _number(value: Array, node: ast.expr) -> Array:
    if _is_text(value):
        raise ExpressionError("text cannot be calculated with", node.col_offset)
    return value.astype(np.int64) if value.dtype.kind == "b" else value


def _alike(left: Array, right: Array, node: ast.expr) -> tuple[Array, Array]:
    if _is_text(left) != _is_text(right):
        raise ExpressionError("text stands against a number here", node.col_offset)
    return left, right


def _calculate(node: ast.expr, op: ast.operator, left: Array, right: Array) -> Array:
    are_integers = left.dtype.kind in "iu" and right.dtype.kind in "iu"
    if isinstance(op, ast.Div | ast.FloorDiv | ast.Mod) and np.any(right == 0):
        right = np.where(right == 0, np.nan, right)
        are_integers = False
    if isinstance(op, ast.Pow) and np.any(right < 0):
        left, are_integers = left.astype(np.float64), False
    function = _ARITHMETIC[type(op)]
    if are_integers:
        _check_size(node, function(left.astype(np.float64), right.astype(np.float64)))
    return np.asarray(function(left, right))


def _check_size(node: ast.expr, approximate: Array) -> None:
    """numpy's integers wrap around silently: ask the floats first."""
    if np.any(np.abs(approximate) > 2.0**62):
        raise ExpressionError("a number grows beyond 64 bits here", node.col_offset)


def _compare(node: ast.Compare, env: Mapping[str, Any]) -> Array:
    result = np.asarray(True)
    left = _plain(node.left, env)
    for op, right_node in zip(node.ops, node.comparators, strict=True):
        if isinstance(right_node, ast.Tuple):
            entries = [_plain(entry, env) for entry in right_node.elts]
            is_in = reduce(np.logical_or, [np.equal(*_alike(left, entry, node)) for entry in entries])
            holds = ~is_in if isinstance(op, ast.NotIn) else is_in
        else:
            right = _plain(right_node, env)
            holds = _COMPARISON[type(op)](*_alike(left, right, node))
            left = right
        result = result & holds
    return result


# Elements of a group


def _in_group(node: ast.expr, env: Mapping[str, Any], group: Group) -> npt.NDArray[np.int64]:
    match node:
        case ast.Name(id=name):
            return np.asarray(env[name])
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            return np.asarray(group.product[_in_group(left, env, group), _in_group(right, env, group)])
        case ast.BinOp(left=left, op=ast.Div(), right=right):
            return np.asarray(group.product[_in_group(left, env, group), group.inverse[_in_group(right, env, group)]])
        case ast.BinOp(left=base, op=ast.Pow(), right=right):
            return _group_power(_in_group(base, env, group), _whole_constant(right), group)
    raise ExpressionError(f"elements of a group are multiplied; allowed: {GROUP_ALLOWED}", node.col_offset)


def _whole_constant(node: ast.expr) -> int:
    negative = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub)
    constant = node.operand if isinstance(node, ast.UnaryOp) and negative else node
    if not isinstance(constant, ast.Constant) or not isinstance(constant.value, int):
        raise ExpressionError(f"in a group an exponent is a whole number, as in {GROUP_ALLOWED}", node.col_offset)
    return -constant.value if negative else constant.value


def _group_power(base: npt.NDArray[np.int64], exponent: int, group: Group) -> npt.NDArray[np.int64]:
    if exponent < 0:
        base, exponent = group.inverse[base], -exponent
    result = group.product[base, group.inverse[base]]  # the identity
    for _ in range(exponent):
        result = group.product[result, base]
    return np.asarray(result)


# Residues

Residues = tuple[Array, Array]
"""Values in 0..p-1 and whether they are defined."""


def _modular(node: ast.expr, env: Mapping[str, Any], modulus: int) -> Residues:
    match node:
        case ast.BinOp(op=ast.Mod() | ast.FloorDiv()) | ast.Compare() | ast.BoolOp() | ast.UnaryOp(op=ast.Not()):
            return _residues(node, env, modulus)
        case ast.Constant() | ast.Name():
            return _residues(node, env, modulus)
        case ast.UnaryOp(op=op, operand=operand):
            value, defined = _modular(operand, env, modulus)
            return (-value % modulus if isinstance(op, ast.USub) else value), defined
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return _power(_modular(left, env, modulus), _residues(right, env, None), modulus, right)
        case ast.BinOp(left=left, op=op, right=right):
            return _combine(op, _modular(left, env, modulus), _modular(right, env, modulus), modulus)
        case ast.IfExp(test=test, body=body, orelse=orelse):
            is_body = _truth(_plain(test, env))
            (value, defined), (other, other_defined) = _modular(body, env, modulus), _modular(orelse, env, modulus)
            return np.where(is_body, value, other), np.where(is_body, defined, other_defined)
    raise AssertionError(f"unchecked node {ast.dump(node)}")


def _residues(node: ast.expr, env: Mapping[str, Any], modulus: int | None) -> Residues:
    """A plain value as residues (modulus None: left as it is); NaN, from dividing by zero, is undefined."""
    value = _number(_plain(node, env), node)
    defined = np.isfinite(value)
    whole = np.where(defined, value, 0)
    if np.any(whole != np.floor(whole)):
        raise ExpressionError("a task operation needs whole numbers here", node.col_offset)
    integers = whole.astype(np.int64)
    return (integers if modulus is None else integers % modulus), defined


def _combine(op: ast.operator, left: Residues, right: Residues, modulus: int) -> Residues:
    defined = left[1] & right[1]
    if not isinstance(op, ast.Div):
        return np.asarray(_ARITHMETIC[type(op)](left[0], right[0]) % modulus), defined
    inverse = _inverses(modulus)[right[0]]
    return left[0] * inverse % modulus, defined & (inverse > 0)


@lru_cache(maxsize=4)
def _inverses(modulus: int) -> Array:
    """Inverse of each residue, 0 where there is none."""
    return np.array([pow(x, -1, modulus) if math.gcd(x, modulus) == 1 else 0 for x in range(modulus)], dtype=np.int64)


def _power(base: Residues, exponent: Residues, modulus: int, node: ast.expr) -> Residues:
    """Square and multiply: the exponent is a plain integer, never reduced. 0**0 is 1."""
    remaining = exponent[0]
    if np.any(remaining < 0):
        raise ExpressionError("exponents are 0 or more; write 1 / x for an inverse", node.col_offset)
    square, remaining = np.broadcast_arrays(base[0], remaining)
    result = np.ones_like(square)
    while np.any(remaining > 0):
        result = np.where(remaining % 2 == 1, result * square % modulus, result)
        square, remaining = square * square % modulus, remaining // 2
    return result % modulus, base[1] & exponent[1]
