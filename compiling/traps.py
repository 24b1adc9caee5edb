"""What mypyc refuses or, worse, changes in silence: looked for in each module that is compiled.

``python -m compiling.traps`` tells every trap that it finds, and ends with status 1 if
there is one. A few of them were first met on the error paths of payments, where a
call hung that had run well in Python: so no compiled module may have any.
"""

from __future__ import annotations

import ast
import sys
from typing import TYPE_CHECKING, Final

from compiling.modules import ROOT, compiled_modules, path_of
from compiling.narrowing import attributes_taken_for_none
from compiling.source import SCOPES, Function, Module, own

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from pathlib import Path

#: What a class of a compiled module may be derived from, besides another one of a compiled module. Of any other base
#: mypyc knows no layout: ``__slots__`` would overlap, and what a metaclass (msgspec's) or a C base does is left out.
BASES: Final = frozenset(
    {"asyncio.Protocol", "builtins.Exception", "builtins.object", "enum.Enum", "enum.StrEnum"}
    | {"typing.Generic", "typing.NamedTuple", "typing.Protocol"}
)
_ENUMS: Final = frozenset({"enum.Enum", "enum.StrEnum"})

# --- each trap -------------------------------------------------------------------------------------------------------


def _handlers_of_one_name(module: Module, _: Collection[str]) -> Iterator[ast.AST]:
    for scope in (module.tree, *module.functions):
        caught: dict[str, str] = {}
        for node in own(scope):
            if isinstance(node, ast.ExceptHandler) and node.name is not None:
                kind = ast.unparse(node.type) if node.type else ""
                if caught.setdefault(node.name, kind) != kind:
                    yield node


def _class_keywords(module: Module, _: Collection[str]) -> Iterator[ast.AST]:
    return (each for each in module.classes if each.keywords)


def _foreign_bases(module: Module, compiled: Collection[str]) -> Iterator[ast.AST]:
    for each in module.classes:
        for base in map(module.meaning, each.bases):
            if base not in BASES and base.rpartition(".")[0] not in {module.name, *compiled}:
                yield each


def _fields_without_type(module: Module, _: Collection[str]) -> Iterator[ast.AST]:
    for each in module.classes:
        decorators = {module.meaning(one.func if isinstance(one, ast.Call) else one) for one in each.decorator_list}
        if "dataclasses.dataclass" not in decorators and "typing.NamedTuple" not in map(module.meaning, each.bases):
            continue
        for node in each.body:
            if isinstance(node, ast.AnnAssign) and not module.for_types_only.isdisjoint(_names(node.annotation)):
                yield node


def _names(annotation: ast.AST) -> Iterator[str]:
    return (node.id for node in ast.walk(annotation) if isinstance(node, ast.Name))


def _enums_with_init(module: Module, _: Collection[str]) -> Iterator[ast.AST]:
    for each in module.classes:
        if not _ENUMS.isdisjoint(map(module.meaning, each.bases)):
            yield from (node for node in each.body if isinstance(node, Function) and node.name in _MAKERS)


_MAKERS: Final = frozenset({"__init__", "__new__", "__init_subclass__", "_missing_", "_generate_next_value_"})


def _async_generators(module: Module, _: Collection[str]) -> Iterator[ast.AST]:
    for each in module.functions:
        if isinstance(each, ast.AsyncFunctionDef) and any(isinstance(node, ast.Yield) for node in own(each)):
            yield each


def _waits_in_handlers(module: Module, _: Collection[str]) -> Iterator[ast.AST]:
    for each in module.functions:
        for node in own(each):
            if isinstance(node, ast.AsyncWith):
                yield node
            if isinstance(node, ast.Try | ast.TryStar):
                inside = [*node.finalbody, *(line for handler in node.handlers for line in handler.body)]
                inside = [line for line in inside if not isinstance(line, SCOPES)]
                yield from (one for line in inside for one in (line, *own(line)) if isinstance(one, _WAITS))


_WAITS: Final = (ast.Await, ast.Yield, ast.YieldFrom, ast.AsyncFor)


def _conditions_in_class(module: Module, _: Collection[str]) -> Iterator[ast.AST]:
    return (node for each in module.classes for node in each.body if isinstance(node, ast.If))


def _methods_of_two_names(module: Module, _: Collection[str]) -> Iterator[ast.AST]:
    for each in module.classes:
        methods = {node.name for node in each.body if isinstance(node, Function)}
        for node in each.body:
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Name) and node.value.id in methods:
                yield node


def _nested_classes(module: Module, _: Collection[str]) -> Iterator[ast.AST]:
    top = [node for node in module.tree.body if isinstance(node, ast.ClassDef)]
    return (each for each in module.classes if each not in top)


def _generators_taken_in_part(module: Module, _: Collection[str]) -> Iterator[ast.AST]:
    calls = [node for node in ast.walk(module.tree) if isinstance(node, ast.Call) and len(node.args) == 1]
    whole = [node.args[0] for node in calls if ast.unparse(node.func).rpartition(".")[2] in _TAKE_ALL]
    for node in ast.walk(module.tree):
        if isinstance(node, ast.GeneratorExp) and node not in whole:
            yield node


_TAKE_ALL: Final = frozenset(
    {"all", "any", "dict", "frozenset", "join", "list", "max", "min", "set", "sorted", "sum", "tuple"}
)

#: In a compiled module: what it must not have, as a sentence that says why, and how it is found.
TRAPS: Final[dict[str, Callable[[Module, Collection[str]], Iterable[ast.AST]]]] = {
    "Two handlers of different exceptions bind one name: the second one would raise a TypeError. Give each its own.": (
        _handlers_of_one_name
    ),
    "Keywords of a class are dropped: a frozen Struct would not be frozen. Move the class to an interpreted module.": (
        _class_keywords
    ),
    "The base is not native, and not one that is known to work. Move the class to an interpreted module, or its base "
    "to a compiled one.": _foreign_bases,
    "The field's type is imported under TYPE_CHECKING, and looked up when the class is made. Import it, or move the "
    "class to an interpreted module.": _fields_without_type,
    "An Enum that makes its members itself is not made so. Move it to an interpreted module.": _enums_with_init,
    "Asynchronous generators cannot be compiled. Move it to an interpreted module, or write __aiter__ and __anext__.": (
        _async_generators
    ),
    "What waits while an exception is handled (in except, in finally, as async with ends) may free it or lose it: the "
    "process crashes, or what was cancelled goes on. Wait after the handler, or in an interpreted module.": (
        _waits_in_handlers
    ),
    "An attribute that was set to None, or was seen to be None, is taken for None until the function ends, though "
    "others set it meanwhile: a TypeError. Set it, or read it, in a function of its own.": attributes_taken_for_none,
    "A condition in a class body cannot be compiled. Move the class to an interpreted module.": _conditions_in_class,
    "A method's second name is an attribute that nobody sets. Write a method that calls it.": _methods_of_two_names,
    "A generator expression is made a list first, all of it. Write a loop, or give it to what takes all of it (any, "
    "sum, tuple, …).": _generators_taken_in_part,
    "A class within a class or function cannot be compiled. Move it to the module.": _nested_classes,
}

#: In every other module.
INHERITED: Final = "An interpreted class, a test's too, cannot be derived from a native one. Hold one, or be like it."


def traps_in(module: Module, compiled: Collection[str]) -> Iterator[tuple[int, str]]:
    """Yield line and sentence of each trap in a module; ``compiled`` are the names of those that are compiled."""
    if module.name in compiled:
        for sentence, find in TRAPS.items():
            yield from ((_line(node), sentence) for node in find(module, compiled))
        return
    for each in module.classes:
        if any(module.meaning(base).rpartition(".")[0] in compiled for base in each.bases):
            yield each.lineno, INHERITED


def _line(node: ast.AST) -> int:
    line: int = getattr(node, "lineno", 0)
    return line


def all_traps() -> Iterator[str]:
    """Yield each trap of the project as ``path:line: sentence``."""
    compiled = compiled_modules()
    paths = [*map(path_of, compiled), *_others(compiled)]
    for path in paths:
        name = str(path.relative_to(ROOT).with_suffix("")).replace("/", ".")
        for line, sentence in traps_in(Module.read(name, path.read_text(encoding="utf-8")), compiled):
            yield f"{path.relative_to(ROOT)}:{line}: {sentence}"


def _others(compiled: Collection[str]) -> Iterator[Path]:
    native = set(map(path_of, compiled))
    for folder in ("sidecar", "tests", "benchmarks"):
        yield from (path for path in sorted((ROOT / folder).rglob("*.py")) if path not in native)


if __name__ == "__main__":
    found = list(all_traps())
    for trap in found:
        print(trap, file=sys.stderr)
    sys.exit(1 if found else 0)
