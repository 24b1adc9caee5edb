"""What mypyc would break in silence is found in a module that is compiled, and is in none of ours."""

from __future__ import annotations

from textwrap import dedent
from typing import Final

import pytest

from compiling.modules import compiled_modules, compiler, groups, is_asked_for, path_of
from compiling.source import Module
from compiling.traps import INHERITED, TRAPS, all_traps, traps_in

_COMPILED: Final = frozenset({"pkg.hot", "pkg.warm"})

#: By the beginning of a trap's sentence: source that has it, the line of it, and the same without it.
_CASES: Final = {
    "Two handlers": [
        (
            """
            def pay():
                try:
                    send()
                except ValueError as error:
                    tell(error)
                except OSError as error:
                    tell(error)
            """,
            7,
            """
            def pay():
                try:
                    send()
                except ValueError as error:
                    tell(error)
                except OSError as broken:
                    tell(broken)

            def again():
                try:
                    send()
                except KeyError as error:
                    tell(error)

                def inside():
                    try:
                        send()
                    except OSError as error:
                        tell(error)
            """,
        ),
        (
            """
            async def pay():
                try:
                    await send()
                except ValueError as error:
                    try:
                        tell(error)
                    except OSError as error:
                        pass
            """,
            8,
            """
            async def pay():
                try:
                    await send()
                except ValueError as error:
                    tell(error)
                try:
                    await send()
                except ValueError as error:
                    tell(error)
            """,
        ),
    ],
    "Keywords of a class": [
        (
            "class Pair(object, frozen=True):\n    first: int\n",
            1,
            "class Pair(object):\n    first: int\n",
        )
    ],
    "The base is not native": [
        ("import msgspec\nclass Pair(msgspec.Struct):\n    first: int\n", 2, "class Pair:\n    first: int\n"),
        (
            "import asyncio\nclass Way(asyncio.Transport): ...\n",
            2,
            "import asyncio\nclass End(asyncio.Protocol): ...\n",
        ),
        ("class Gone(ConnectionError): ...\n", 1, "class Gone(Exception): ...\n"),
        ("class Index(dict[str, int]): ...\n", 1, "from typing import Generic\nclass Index(Generic[T]): ...\n"),
        ("from pkg.cold import Base\nclass Of(Base): ...\n", 2, "from pkg.warm import Base\nclass Of(Base): ...\n"),
        ("import pkg.cold\nclass Of(pkg.cold.Base): ...\n", 2, "class Base: ...\nclass Of(Base): ...\n"),
    ],
    "The field's type": [
        (
            """
            from dataclasses import dataclass
            from typing import TYPE_CHECKING

            if TYPE_CHECKING:
                from pathlib import Path

            @dataclass(frozen=True)
            class Place:
                path: list[Path]
            """,
            10,
            """
            from dataclasses import dataclass
            from pathlib import Path
            from typing import TYPE_CHECKING

            if TYPE_CHECKING:
                from collections.abc import Callable

            @dataclass(frozen=True)
            class Place:
                path: list[Path]

            class Plain:
                make: Callable[[], None]
            """,
        ),
        (
            """
            import typing

            if typing.TYPE_CHECKING:
                import pathlib

            class Place(typing.NamedTuple):
                path: pathlib.Path
            """,
            8,
            """
            import pathlib
            import typing

            class Place(typing.NamedTuple):
                path: pathlib.Path
            """,
        ),
    ],
    "An Enum": [
        (
            """
            from enum import Enum

            class Rule(Enum):
                A = "a", "b"

                def __init__(self, word, text):
                    self.word = word
            """,
            7,
            """
            from enum import Enum

            class Rule(Enum):
                A = "a"

            class Other:
                def __init__(self, word):
                    self.word = word
            """,
        )
    ],
    "Asynchronous generators": [
        (
            "async def pieces():\n    for each in range(3):\n        yield each\n",
            1,
            "def pieces():\n    yield 1\n\nasync def all():\n    def inside():\n        yield 1\n    return inside()\n",
        )
    ],
    "What waits while": [
        (
            """
            async def pay():
                try:
                    await send()
                except BaseException:
                    await stop()
                    raise
            """,
            6,
            """
            async def pay():
                try:
                    await send()
                except BaseException:
                    stop()
                    raise
            """,
        ),
        (
            """
            async def pay():
                try:
                    await send()
                finally:
                    if sender:
                        await stop()
            """,
            7,
            """
            async def pay():
                try:
                    await send()
                finally:
                    async def inside():
                        await stop()
            """,
        ),
        (
            "async def pay(lock):\n    async with lock:\n        await send()\n",
            2,
            "async def pay(lock):\n    with lock:\n        await send()\n",
        ),
    ],
    "An attribute that was set": [
        (
            """
            class Connection:
                async def answer(self):
                    self.record = None
                    await self.handler()
                    tell(self.record)
            """,
            6,
            """
            class Connection:
                async def answer(self):
                    before, self.record = self.record, None
                    other.record = self.other
                    self.record = await self.handler()
                    tell(self.record)

                async def told(self):
                    tell(self.record)
                    self.record = None
            """,
        ),
        (
            """
            class Connection:
                async def answer(self):
                    before, self.record = self.record, None
                    await self.handler()
                    if self.record is not None:
                        tell()
            """,
            6,
            """
            class Connection:
                async def answer(self):
                    self.forget()
                    await self.handler()
                    if self.record is not None:
                        tell()
            """,
        ),
        (
            """
            class Connection:
                async def serve(self):
                    try:
                        while self.transport is not None:
                            await self.exchange()
                    finally:
                        if self.transport is not None:
                            self.close()
            """,
            8,
            """
            class Connection:
                async def serve(self):
                    try:
                        while self.transport is not None:
                            await self.exchange()
                    finally:
                        self.end()

                async def accept(self):
                    while self.transport is not None:
                        if await self.exchange():
                            break
                    tell(self.transport)
            """,
        ),
        (
            """
            class Pool:
                async def sweep(self):
                    if self.sweeper is None:
                        self.begin()
                        tell(self.sweeper)
            """,
            6,
            """
            class Pool:
                async def sweep(self):
                    if self.sweeper is None:
                        self.sweeper = self.begin()
                        tell(self.sweeper)
                    tell(self.sweeper)
            """,
        ),
        (
            """
            class Pool:
                async def sweep(self):
                    if self.waiter is not None and other is not None:
                        return
                    if not (self.sweeper is None or self.waiter is None):
                        return
                    if other or self.sweeper is not None:
                        return
                    self.begin()
                    tell(self.sweeper)
            """,
            11,
            """
            class Pool:
                async def sweep(self):
                    if self.waiter is not None and other is not None:
                        return
                    self.begin()
                    tell(self.waiter)
            """,
        ),
        (
            """
            class Pool:
                async def sweep(self):
                    if self.sweeper:
                        self.stop()
                    elif other:
                        self.begin()
                        tell(self.sweeper)
            """,
            8,
            """
            class Pool:
                async def sweep(self):
                    if self.sweeper:
                        self.stop()
                    tell(self.sweeper)
            """,
        ),
        (
            """
            class Pool:
                async def begin(self):
                    assert self.sweeper is None
                    self.start()
                    tell(self.sweeper)
            """,
            6,
            """
            class Pool:
                async def begin(self):
                    assert self.sweeper is not None
                    self.start()
                    tell(self.sweeper)
            """,
        ),
    ],
    "A condition in a class": [
        (
            "class Index:\n    if TYPE_CHECKING:\n        def get(self): ...\n",
            2,
            "class Index:\n    def get(self):\n        if self: return 1\n",
        )
    ],
    "A method's second name": [
        (
            "class Way:\n    def abort(self): ...\n    close = abort\n",
            3,
            "class Way:\n    def abort(self): ...\n    def close(self): self.abort()\n    kind = OTHER\n",
        )
    ],
    "A generator expression": [
        (
            "def oldest(waiting):\n    return next((each for each in waiting if each.idle), None)\n",
            2,
            "def any_idle(waiting):\n    return any(each.idle for each in waiting), b''.join(e for e in waiting)\n",
        ),
        ("def squares(all):\n    for each in (one * one for one in all): yield each\n", 2, "[one for one in (1, 2)]\n"),
    ],
    "A class within": [
        ("def make():\n    class Made: ...\n    return Made\n", 2, "class Made: ...\ndef make():\n    return Made\n"),
    ],
}
_EACH: Final = [(begins, *case) for begins, cases in _CASES.items() for case in cases]


def _found(source: str, name: str = "pkg.hot") -> list[tuple[int, str]]:
    return list(traps_in(Module.read(name, dedent(source)), _COMPILED))


@pytest.mark.parametrize(("begins", "source", "line", "without"), _EACH)
def test_each_trap_is_found_and_nothing_else(begins: str, source: str, line: int, without: str) -> None:
    assert [(at, sentence.startswith(begins)) for at, sentence in _found(source)] == [(line, True)]
    assert _found(without) == []


def test_there_is_a_case_for_each_trap() -> None:
    assert [sentence for sentence in TRAPS if not any(map(sentence.startswith, _CASES))] == []
    assert len(_CASES) == len(TRAPS)


@pytest.mark.parametrize("source", [each[1] for each in _EACH])
def test_an_interpreted_module_may_have_all_of_them(source: str) -> None:
    assert _found(source, name="pkg.cold") == []


def test_an_interpreted_class_is_not_derived_from_a_native_one() -> None:
    source = "from pkg.hot import Pool\nclass Mine(Pool): ...\n"
    assert _found(source, name="tests.unit.test_pool") == [(2, INHERITED)]
    assert _found(source, name="pkg.warm") == []
    assert _found("from pkg.cold import Pool\nclass Mine(Pool): ...\n", name="tests.unit.test_pool") == []


def test_no_module_of_ours_has_one() -> None:
    assert list(all_traps()) == []


def test_the_table_names_modules_that_there_are_each_once() -> None:
    modules = compiled_modules()
    assert modules
    assert [module for module in modules if not path_of(module).is_file()] == []
    assert len(set(modules)) == len(modules)
    assert all(list(group) == sorted(group) for group in groups().values())


def test_the_compiler_is_pinned_to_one_version() -> None:
    name, _, version = compiler().partition("==")
    assert (name, version.count(".")) == ("mypy", 2)


@pytest.mark.parametrize(("value", "asked"), [(None, False), ("", False), ("0", False), ("1", True)])
def test_the_variable_asks_for_native_code(value: str | None, asked: bool) -> None:
    assert is_asked_for({} if value is None else {"SIDECAR_COMPILE": value}) is asked


def test_another_value_of_the_variable_is_refused() -> None:
    with pytest.raises(ValueError, match="SIDECAR_COMPILE is 'yes': set it to 1"):
        is_asked_for({"SIDECAR_COMPILE": "yes"})
