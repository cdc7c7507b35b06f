"""Mutants of the pure modules: `make mutants`. Each is one small change of the code, on which some test must fail.

Changed: a comparison (its limit, its opposite), arithmetic, and/or, a bare condition, True and False, a whole number,
the last digit of Decimal("…"), a count in a regular expression, min/max, any/all, bisect_left/right, what is returned.
Left out: a sign, one part of and/or, an end of a slice, a condition of a comprehension, a keyword argument, and a
statement that is a call, a raise, a del, a continue, a break or an addition. Not changed: words and f-strings, what is
raised or asserted, annotations, decorators and repr=.
"""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import CodeType
from typing import Any

NOT_CODE = {"annotation", "returns", "decorator_list", "exc"}
BARE = ast.Name | ast.Attribute | ast.Call | ast.NamedExpr
Operators = dict[type[ast.AST], type[ast.AST]]
LEFT_OUT = ast.Raise | ast.Delete | ast.Continue | ast.Break | ast.AugAssign
LIMITS: Operators = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt}
OPPOSITES: Operators = {ast.Eq: ast.NotEq, ast.In: ast.NotIn, ast.Is: ast.IsNot, ast.Lt: ast.GtE, ast.Gt: ast.LtE}
ARITHMETIC: Operators = {ast.Add: ast.Sub, ast.Mult: ast.Div, ast.BitOr: ast.BitAnd}
NAMES = {"min": "max", "any": "all", "bisect_left": "bisect_right"}
OPPOSITES |= {other: one for one, other in OPPOSITES.items()}
ARITHMETIC |= {other: one for one, other in ARITHMETIC.items()}
ARITHMETIC |= {ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult, ast.Pow: ast.Mult}
NAMES |= {other: one for one, other in NAMES.items()}


def changed(node: Any, **fields: Any) -> Any:
    other = copy.copy(node)
    for name, value in fields.items():
        setattr(other, name, value)
    return other


def without_each(things: Sequence[Any]) -> Iterator[list[Any]]:
    kept = ([*things[:n], *things[n + 1 :]] for n in range(len(things)) if getattr(things[n], "arg", "") != "repr")
    yield from kept


def instead(node: Any) -> Iterator[Any]:  # noqa: C901, PLR0912 -- one case a kind of mutant
    """What may stand in the place of a node."""
    match node:
        case ast.Compare():
            for n, operator in enumerate(node.ops):
                others = [table[type(operator)]() for table in (LIMITS, OPPOSITES) if type(operator) in table]
                yield from (changed(node, ops=[*node.ops[:n], other, *node.ops[n + 1 :]]) for other in others)
        case ast.BinOp() if type(node.op) in ARITHMETIC:
            yield changed(node, op=ARITHMETIC[type(node.op)]())
        case ast.BoolOp():
            yield changed(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
            yield from (changed(node, values=rest) if rest[1:] else rest[0] for rest in without_each(node.values))
        case ast.UnaryOp():
            yield node.operand
        case ast.Constant(value=bool() | int() as value):
            yield changed(node, value=not value if isinstance(value, bool) else value + 1)
        case ast.Call(func=ast.Name(id="Decimal") | ast.Attribute(attr="compile"), args=[ast.Constant(value=text), *_]):
            yield from (changed(node, args=[ast.Constant(other), *node.args[1:]]) for other in other_digits(text))
        case ast.Call():
            yield from (changed(node, keywords=rest) for rest in without_each(node.keywords))
        case ast.Name() if node.id in NAMES:
            yield changed(node, id=NAMES[node.id])
        case ast.Slice():
            yield from (changed(node, **{end: None}) for end in ("lower", "upper") if getattr(node, end))
        case ast.comprehension():
            yield from (changed(node, ifs=rest) for rest in without_each(node.ifs))
        case ast.Return(value=ast.expr() as value) if ast.unparse(value) != "None":
            yield changed(node, value=ast.Constant(None))
        case ast.If() | ast.IfExp() | ast.While() if isinstance(node.test, BARE):
            yield changed(node, test=ast.UnaryOp(ast.Not(), node.test))
        case ast.Expr(value=ast.Call()):
            yield ast.Pass()
        case _ if isinstance(node, LEFT_OUT):
            yield ast.Pass()


def other_digits(text: Any) -> Iterator[Any]:
    found = text.decode() if isinstance(text, bytes) else str(text)
    for match in re.finditer(r"(?<=[{,])\d+(?=[,}])|\d$", found):
        other = found[: match.start()] + str((int(match[0]) + 1) % 1000) + found[match.end() :]
        yield other.encode() if isinstance(text, bytes) else type(text)(other)


def code(node: Any) -> Iterator[Any]:
    """All nodes that may be changed, or hold what may be."""
    yield node
    for name, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            is_text = isinstance(child, ast.JoinedStr | ast.Assert) or getattr(child, "arg", "") == "repr"
            if name not in NOT_CODE and isinstance(child, ast.AST) and not is_text:
                yield from code(child)


def mutants(path: Path) -> Iterator[tuple[str, CodeType]]:
    """What was changed, and the module with that."""
    tree = ast.parse(path.read_text("utf-8"))
    for holder in list(code(tree)):
        for name, value in ast.iter_fields(holder):
            values = value if isinstance(value, list) else [value]
            for n, node in enumerate(values if name not in NOT_CODE else []):
                for other in instead(node):
                    setattr(holder, name, [*values[:n], other, *values[n + 1 :]] if value is values else other)
                    line = getattr(node, "lineno", getattr(holder, "lineno", 0))
                    shown = " → ".join(ast.unparse(one).partition("\n")[0] for one in (node, other))
                    yield f"{path.name}:{line}: {shown}", compile(ast.fix_missing_locations(tree), path, "exec")
                setattr(holder, name, value)
