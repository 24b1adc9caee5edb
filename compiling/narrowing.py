"""Where mypyc takes an attribute for None.

A type checker that has seen ``while self.transport is not None`` takes the
attribute for None behind the loop, until the function ends or sets it anew. It
does not count on calls and waits in between, in which others may set it. Python
does not care; mypyc, which believes the type, raises a TypeError where the
attribute is read and is not None.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Final, NamedTuple

from compiling.source import assignments, own

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from compiling.source import Function, Module

_LEAVES: Final = (ast.Return, ast.Raise, ast.Continue, ast.Break)


class _Region(NamedTuple):
    """Lines behind ``begin``, up to ``end``, in which an attribute is taken for None."""

    attribute: str
    begin: int
    end: int


def attributes_taken_for_none(module: Module, _: Collection[str]) -> Iterator[ast.AST]:
    """Yield each place that reads an attribute which is taken for None there."""
    for function in module.functions:
        attributes = [node for node in own(function) if isinstance(node, ast.Attribute)]
        for name, begin, end in _regions(function):
            named = [node for node in attributes if begin < node.lineno <= end and ast.unparse(node) == name]
            anew = min((node.lineno for node in named if isinstance(node.ctx, ast.Store)), default=end)
            yield from (node for node in named if isinstance(node.ctx, ast.Load) and node.lineno <= anew)


def _regions(function: Function) -> Iterator[_Region]:
    last = _last_line(function)
    for target, value in assignments(function):
        if isinstance(target, ast.Attribute) and isinstance(value, ast.Constant) and value.value is None:
            yield _Region(ast.unparse(target), target.lineno, last)
    for node in own(function):
        if isinstance(node, ast.While) and not any(isinstance(each, ast.Break) for each in own(node)):
            yield from (_Region(each, _last_line(node), last) for each in _none_if(node.test, outcome=False))
        if isinstance(node, ast.Assert):
            yield from (_Region(each, _last_line(node), last) for each in _none_if(node.test, outcome=True))
        if isinstance(node, ast.If):
            yield from _of_branches(node, last)


def _of_branches(node: ast.If, last: int) -> Iterator[_Region]:
    for each in _none_if(node.test, outcome=True):
        yield _Region(each, _last_line(node.test), _last_line(node.body[-1]))
    for each in _none_if(node.test, outcome=False):
        if isinstance(node.body[-1], _LEAVES):
            yield _Region(each, _last_line(node.body[-1]), last)
        elif node.orelse:
            yield _Region(each, _last_line(node.body[-1]), _last_line(node))


def _none_if(test: ast.expr, *, outcome: bool) -> frozenset[str]:
    """Return the attributes that are None, or false, if ``test`` has that outcome."""
    match test:
        case ast.UnaryOp(op=ast.Not(), operand=inner):
            return _none_if(inner, outcome=not outcome)
        case ast.BoolOp(op=operator, values=values):
            each = [_none_if(value, outcome=outcome) for value in values]
            # All of an `and` are true if it is true, and all of an `or` are false if it is false.
            every = isinstance(operator, ast.And) is outcome
            return frozenset[str]().union(*each) if every else each[0].intersection(*each[1:])
        case ast.Compare(left=ast.Attribute() as left, ops=[operator], comparators=[ast.Constant(value=None)]):
            return frozenset({ast.unparse(left)} if isinstance(operator, ast.Is) is outcome else ())
        case ast.Attribute() if not outcome:
            return frozenset({ast.unparse(test)})
    return frozenset()


def _last_line(node: ast.stmt | ast.expr) -> int:
    return node.end_lineno or node.lineno
