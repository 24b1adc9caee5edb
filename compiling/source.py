"""A module's source, and what the traps ask of it."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

#: A function or method.
Function = ast.FunctionDef | ast.AsyncFunctionDef
#: What has statements of its own, which run at another time.
SCOPES: Final = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)


@dataclass(frozen=True)
class Module:
    """A module's source, and what its names mean."""

    name: str
    tree: ast.Module

    @classmethod
    def read(cls, name: str, source: str) -> Module:
        """Parse a module."""
        return cls(name, ast.parse(source))

    @cached_property
    def classes(self) -> list[ast.ClassDef]:
        """Every class of the module."""
        return [node for node in ast.walk(self.tree) if isinstance(node, ast.ClassDef)]

    @cached_property
    def functions(self) -> list[Function]:
        """Every function and method of the module."""
        return [node for node in ast.walk(self.tree) if isinstance(node, Function)]

    @cached_property
    def imported(self) -> dict[str, str]:
        """What each imported name stands for, with its module before it."""
        return {name: whole for node in ast.walk(self.tree) for name, whole in _imports(node)}

    @cached_property
    def for_types_only(self) -> frozenset[str]:
        """The names that are there for a type checker, and not when the program runs."""
        blocks = [node for node in ast.walk(self.tree) if isinstance(node, ast.If) and _checks_types(node)]
        return frozenset(name for block in blocks for node in block.body for name, _ in _imports(node))

    def meaning(self, expression: ast.expr) -> str:
        """Return what an expression names, with its module before it: ``Struct[int]`` is ``msgspec.Struct``."""
        if isinstance(expression, ast.Subscript):
            return self.meaning(expression.value)
        first, dot, rest = ast.unparse(expression).partition(".")
        if first in self.imported:
            return self.imported[first] + dot + rest
        local = any(each.name == first for each in self.classes)
        return f"{self.name if local else 'builtins'}.{first}{dot}{rest}"


def _imports(node: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield the names that a statement imports, each with what it stands for."""
    if isinstance(node, ast.ImportFrom):
        for each in node.names:
            yield each.asname or each.name, f"{node.module}.{each.name}"
    elif isinstance(node, ast.Import):
        for each in node.names:
            yield each.asname or each.name.partition(".")[0], each.name if each.asname else each.name.partition(".")[0]


def _checks_types(node: ast.If) -> bool:
    return ast.unparse(node.test).removeprefix("typing.") == "TYPE_CHECKING"


def own(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what is inside ``node``, without what is inside functions and classes of its own."""
    for child in ast.iter_child_nodes(node):
        yield child
        if not isinstance(child, SCOPES):
            yield from own(child)


def assignments(function: ast.AST) -> Iterator[tuple[ast.expr, ast.expr | None]]:
    """Yield each target of an assignment in a function, with its value if that can be told."""
    for node in own(function):
        if isinstance(node, ast.AnnAssign | ast.AugAssign):
            yield node.target, node.value
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if not isinstance(target, ast.Tuple):
                    yield target, node.value
                elif isinstance(node.value, ast.Tuple):
                    yield from zip(target.elts, node.value.elts, strict=False)
                else:
                    yield from ((each, None) for each in target.elts)
