"""Takes a single check out of the program while it runs, to see whether any case misses it.

A check is found in the source by its text, so that none can move or be added
unseen; the function that has it gets the code of a copy without it.
"""

from __future__ import annotations

import ast
import contextlib
import inspect
from dataclasses import dataclass
from functools import cache
from types import CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, Final

from sidecar.core.admission import caller, guard, policy, target
from sidecar.core.http import framing, headers, response_head
from sidecar.core.http.header_table import INDEXES
from tests.support.source import source_of

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Whose caches may remember what a check has said.
_WITH_CACHES: Final = (caller, framing, guard, headers, policy, response_head, target)

#: Calls that refuse a request.
_REFUSALS: Final = {"_refuse", "_deny", "_turn_away"}


@dataclass(frozen=True, slots=True)
class Check:
    """A condition on which a message is refused: ``text`` in ``function`` of ``module``."""

    module: ModuleType
    function: str
    text: str
    #: Which of several with the same text in this function.
    index: int = 0

    @property
    def name(self) -> str:
        """Its name in the tables."""
        number = f" ({self.index + 1})" if self.index else ""
        return f"{self.module.__name__.rpartition('.')[2]}.{self.function}: {self.text}{number}"


def checks_of(module: ModuleType, *functions: str) -> list[Check]:
    """Return every condition in these functions that alone is enough to refuse, in the order of the source."""
    found: list[Check] = []
    for function in functions:
        seen: dict[str, int] = {}
        for condition in _conditions(_function_node(_tree(module), function)):
            text = ast.unparse(condition)
            index = seen[text] = seen.get(text, -1) + 1
            found.append(Check(module, function, text, index))
    return found


@contextlib.contextmanager
def without(check: Check) -> Iterator[None]:
    """Run as if the condition of ``check`` were never true."""
    tree = ast.parse(_source(check.module))
    node = _function_node(tree, check.function)
    conditions = [each for each in _conditions(node) if ast.unparse(each) == check.text]
    never = ast.copy_location(ast.Constant(value=False), conditions[check.index])
    _Replace(conditions[check.index], never).visit(node)
    with _with_code(check.module, check.function, tree):
        yield


@contextlib.contextmanager
def rewritten(module: ModuleType, function: str, old: str, new: str) -> Iterator[None]:
    """Run as if ``old`` were ``new`` in the source of ``function``, where it stands once."""
    source = _source(module)
    node = _function_node(_tree(module), function)
    segment = ast.get_source_segment(source, node)
    assert segment is not None
    assert segment.count(old) == 1, f"{function} of {module.__name__} has not exactly one {old!r}"
    with _with_code(module, function, ast.parse(source.replace(segment, segment.replace(old, new)))):
        yield


@contextlib.contextmanager
def replaced(module: ModuleType, name: str, value: Any) -> Iterator[None]:
    """Run with another value of a module's constant."""
    before = getattr(module, name)
    setattr(module, name, value)
    forget()
    try:
        yield
    finally:
        setattr(module, name, before)
        forget()


def forget() -> None:
    """Empty all caches of earlier verdicts, but what a ClientIdRules keeps: a case has one of its own."""
    for module in _WITH_CACHES:
        for value in vars(module).values():
            if hasattr(value, "cache_clear"):
                value.cache_clear()
    for table in (INDEXES, response_head._STATUS_LINES, response_head._FIELD_LINES):
        table.clear()


# --- source ----------------------------------------------------------------------------------------------------------


@cache
def _source(module: ModuleType) -> str:
    return source_of(module)


@cache
def _tree(module: ModuleType) -> ast.Module:
    return ast.parse(_source(module))


def _function_node(tree: ast.Module, qualified_name: str) -> ast.FunctionDef | ast.AsyncFunctionDef:
    body: list[ast.stmt] = tree.body
    *classes, name = qualified_name.split(".")
    for each in classes:
        (found,) = [node for node in body if isinstance(node, ast.ClassDef) and node.name == each]
        body = found.body
    (function,) = [
        node for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name
    ]
    return function


def _conditions(function: ast.AST) -> Iterator[ast.expr]:
    for node in ast.walk(function):
        if isinstance(node, ast.If) and any(map(_refuses, node.body)):
            yield from _alternatives(node.test)


def _refuses(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Raise):
        return True
    call = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in _REFUSALS


def _alternatives(test: ast.expr) -> Iterator[ast.expr]:
    """Yield the parts of a condition of which each is enough, given what stands before an ``and``."""
    if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.Or):
        for value in test.values:
            yield from _alternatives(value)
    elif isinstance(test, ast.BoolOp) and any(_is_or(value) for value in test.values):
        for value in test.values:
            if _is_or(value):
                yield from _alternatives(value)
    else:
        yield test


def _is_or(node: ast.expr) -> bool:
    return isinstance(node, ast.BoolOp) and isinstance(node.op, ast.Or)


class _Replace(ast.NodeTransformer):
    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self._old = old
        self._new = new

    def visit(self, node: ast.AST) -> Any:
        return self._new if node is self._old else self.generic_visit(node)


# --- code ------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _with_code(module: ModuleType, qualified_name: str, tree: ast.Module) -> Iterator[None]:
    function = _function(module, qualified_name)
    assert module.__file__ is not None
    compiled = compile(tree, module.__file__, "exec")
    (code,) = [each for each in _all_code(compiled) if each.co_qualname == qualified_name]
    before = function.__code__
    function.__code__ = code
    forget()
    try:
        yield
    finally:
        function.__code__ = before
        forget()


def _function(module: ModuleType, qualified_name: str) -> FunctionType:
    found: Any = module
    for name in qualified_name.split("."):
        found = inspect.getattr_static(found, name)
    for wrapper in ("__wrapped__", "__func__", "fget"):
        found = getattr(found, wrapper, found)
    assert isinstance(found, FunctionType)
    return found


def _all_code(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _all_code(constant)
