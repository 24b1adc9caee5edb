"""Plants small faults, one at a time, and demands that a test fails: ``python -m tests.mutation.run [MODULE …]``.

mutmut plants them, in a copy of the tree below ``build/mutation``: each
operator, number, string, argument and branch inside a function. It leaves alone
what stands outside of functions, so a table of core is held by its own tests
only, and functions with a decorator, staticmethod and classmethod apart. A
fault that no test notices, also in a process of its own, is a survivor; the exit
status is 1 if there is one that ``survivors.toml`` does not explain. A module of
core is tested by those unit tests that name it, one of proxy by those of
tests/unit and tests/flow that name it, or the handler with which they walk the
whole way of a call. A test that reads the source is left out: it stumbles over
the copies in which the faults are. A module without such a function has nothing
to plant.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[2]
BUILD: Final = ROOT / "build" / "mutation"
EXPLAINED: Final = Path(__file__).with_name("survivors.toml")
CORE: Final = "sidecar/core"
_SENDING: Final = ("call", "attempts", "exchange", "forward", "token_retry")
_WALKED: Final = (*_SENDING, "relay", "readback", "own_get", "upstream_response")
PROXY: Final = tuple(f"sidecar/proxy/{name}.py" for name in _WALKED)
#: What mutmut says of a fault that was noticed by a test, or by the time that the tests took.
_NOTICED: Final = ("killed", "timeout", "caught by type check")
#: What it says of one that may be noticed in a process of its own. mutmut forks one that has imported everything: a
#: fault in what runs at import, or in what was kept since, is never met there, and a fork may die of itself.
_OPEN: Final = ("survived", "no tests", "not checked", "segfault", "suspicious")
#: What it says, and ends with, where every fault is of that kind.
_NOTHING_MET: Final = "could not find any test case for any mutant"
#: Decorators that mutmut looks through.
_LOOKED_THROUGH: Final = {"staticmethod", "classmethod"}
#: Seconds that the tests may take with one fault in a process of its own: some make a loop without end.
_LONGEST: Final = 600
#: How pytest ends if a test fails, if one cannot be imported, and if conftest.py cannot.
_FAILED: Final = (1, 2, 4)
#: A profile of tests/conftest.py.
_QUICK: Final = ("--hypothesis-profile=mutation",)
#: A literal of words for people; how they are spelled is held where it matters.
_SENTENCE: Final = re.compile(r"""b?f?("[^"]* [^"]*"|'[^']* [^']*')""")
#: The name of an encoding or a hash as an argument of what looks it up in Python's registry, without regard to case.
_CASELESS_NAME: Final = re.compile(
    r"""(\b(?:encode|decode|unquote|digest)\((?:[^()"]*, )?)"(ascii|latin-1|utf-8|sha256)"(?=[),])""", re.IGNORECASE
)


class Survivor(NamedTuple):
    """A fault that no test noticed: the lines that it took away, and those that it put there."""

    module: str
    before: str
    after: str

    @property
    def is_spelling(self) -> bool:
        """Only a sentence is spelled in another way."""
        before, after = _SENTENCE.sub("", self.before), _SENTENCE.sub("", self.after)
        return before == after and self.before != self.after

    @property
    def is_case_of_name(self) -> bool:
        """Only the name of an encoding or a hash is written in other letters: Python's have no case."""
        before, after = (_CASELESS_NAME.sub(_folded, text) for text in (self.before, self.after))
        return before == after and self.before != self.after

    @property
    def is_of_no_account(self) -> bool:
        """A fault of a kind that changes nothing which a test should hold."""
        return self.is_spelling or self.is_case_of_name


def _explained() -> set[Survivor]:
    entries = tomllib.loads(EXPLAINED.read_text(encoding="utf-8"))["survivor"]
    return {Survivor(entry["module"], entry["before"], entry["after"]) for entry in entries}


def _folded(found: re.Match[str]) -> str:
    return found[0].lower()


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutation.run", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument(
        "module",
        nargs="*",
        help=f"files to plant faults in (default: {CORE} and those of sidecar/proxy that a call walks through)",
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="faults at the same time (default: CPUs)")
    options = parser.parse_args()
    core = tuple(str(path.relative_to(ROOT)) for path in sorted((ROOT / CORE).rglob("*.py")))
    modules = tuple(options.module) or (*core, *PROXY)
    if unknown := [each for each in modules if each not in (*core, *PROXY)]:
        parser.error(f"no faults are planted in {', '.join(unknown)}")
    modules = tuple(each for each in modules if _has_functions(each))
    survivors: list[Survivor] = []
    for places, wanted in (
        (["tests/unit"], [each for each in modules if each in core]),
        (["tests/unit", "tests/flow"], [each for each in modules if each in PROXY]),
    ):
        survivors += _plant(wanted, places, options.jobs) if wanted else []
    return _judge(survivors, modules)


def _judge(survivors: list[Survivor], modules: tuple[str, ...]) -> int:
    """Write and tell what survived; return the exit status."""
    explained = _explained()
    words = [each for each in survivors if each.is_of_no_account]
    fresh = [each for each in survivors if each not in explained and not each.is_of_no_account]
    stale = [each for each in explained if each.module in modules and each not in survivors]
    report = BUILD / "survivors.txt"
    report.parent.mkdir(parents=True, exist_ok=True)
    texts = [f"{module}\n- {before}\n+ {after}\n\n" for module, before, after in fresh]
    report.write_text("".join(texts), encoding="utf-8")
    known = len(survivors) - len(fresh) - len(words)
    print(f"{len(fresh)} survivors without an explanation, {known} with one, {len(words)} of mere spelling or case")
    for module in sorted({each.module for each in fresh}):
        print(f"  {module}: {sum(each.module == module for each in fresh)}")
    for each in stale:
        print(f"  explained, and does not survive: {each.module}: {each.after}")
    if fresh:
        print(f"see {report.relative_to(ROOT)}; kill each by a test, or explain it in {EXPLAINED.relative_to(ROOT)}")
    return 1 if fresh else 0


# --- mutmut ----------------------------------------------------------------------------------------------------------


def _plant(modules: list[str], places: list[str], jobs: int) -> list[Survivor]:
    """Plant faults in ``modules`` under the tests of ``places`` that name one of them; return what survived."""
    tests = [test for test in _test_files(places) if any(_names(test, module) for module in modules)]
    if not tests:
        print(f"no test of {' or '.join(places)} names {', '.join(modules)}")
        return [Survivor(module, "(all of it)", "(no test names it)") for module in modules]
    tree = BUILD / "tree"
    shutil.rmtree(tree, ignore_errors=True)
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    for name in tracked.split("\0"):
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)
    settings = {
        "source_paths": ["sidecar"],
        "only_mutate": modules,
        "also_copy": sorted(path.name for path in tree.iterdir() if path.name not in ("sidecar", "tests")),
        "pytest_add_cli_args_test_selection": tests,
        # The same inputs in the same order each time, so that what survives does so again.
        "pytest_add_cli_args": ["-p", "no:randomly", "-p", "no:cacheprovider", "--hypothesis-seed=0", *_QUICK],
    }
    lines = (f"{key} =\n" + "".join(f"    {value}\n" for value in values) for key, values in settings.items())
    (tree / "setup.cfg").write_text("[mutmut]\n" + "".join(lines), encoding="utf-8")
    _mutmut(tree, "run", "--max-children", str(jobs))
    return _survivors(tree, settings["pytest_add_cli_args"] + tests)


def _survivors(tree: Path, arguments: list[str]) -> list[Survivor]:
    """Return what mutmut's run in ``tree`` left; raises SystemExit if the run did not come to its end."""
    found, explained, trusted = [], _explained(), False
    for line in _mutmut(tree, "results", "--all", "true").splitlines():
        name, _, status = line.strip().rpartition(": ")
        if status in _OPEN:
            survivor = _fault(tree, name)
            if survivor in explained or survivor.is_of_no_account:
                found.append(survivor)
                continue
            if not trusted and _fails_alone(tree, "", arguments):
                raise SystemExit("the tests fail in a process of their own without any fault")
            trusted = True
            # Twice, so that a test which fails once in a while strikes off no survivor.
            if not (_fails_alone(tree, name, arguments) and _fails_alone(tree, name, arguments)):
                found.append(survivor)
        elif status not in _NOTICED:
            raise SystemExit(f"mutmut did not come to its end: {line.strip()}")
    return found


def _fault(tree: Path, name: str) -> Survivor:
    changed = [text for text in _mutmut(tree, "show", name).splitlines() if text[:3] not in ("---", "+++")]
    before, after = (" ".join(text[1:].strip() for text in changed if text[:1] == sign) for sign in "-+")
    return Survivor(name.rpartition(".")[0].replace(".", "/") + ".py", before, after)


def _fails_alone(tree: Path, name: str, arguments: list[str]) -> bool:
    """Whether a test fails with the fault ``name``, or with none if that is empty, in a process that is not forked."""
    try:
        run = subprocess.run(
            [sys.executable, "-m", "pytest", "-x", "-q", *arguments],
            cwd=tree / "mutants",
            env=os.environ | {"MUTANT_UNDER_TEST": name},
            capture_output=True,
            text=True,
            check=False,
            timeout=_LONGEST,
        )
    except subprocess.TimeoutExpired:
        return True
    if run.returncode not in (0, *_FAILED):
        raise SystemExit(f"the tests did not come to their end with {name}\n{run.stdout[-5000:]}{run.stderr[-2000:]}")
    return run.returncode in _FAILED


def _mutmut(tree: Path, *arguments: str) -> str:
    run = subprocess.run(
        [sys.executable, "-m", "mutmut", *arguments], cwd=tree, capture_output=True, text=True, check=False
    )
    if run.returncode and _NOTHING_MET not in run.stdout:
        raise SystemExit(f"mutmut {arguments[0]} failed\n{run.stdout[-5000:]}{run.stderr[-2000:]}")
    return run.stdout


# --- which tests -----------------------------------------------------------------------------------------------------


def _test_files(places: list[str]) -> list[str]:
    files = (str(path.relative_to(ROOT)) for place in places for path in (ROOT / place).rglob("test_*.py"))
    return sorted(file for file in files if "ast" not in _named(file))  # who wants ast reads the source


@cache
def _named(file: str) -> frozenset[str]:
    """Return the modules that a test names in its imports, itself or through tests/support."""
    found: set[str] = set()
    for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    for name in list(found):
        support = name.replace(".", "/") + ".py"
        if name.startswith("tests.support.") and (ROOT / support).is_file():
            found |= _named(support)
    return frozenset(found)


def _names(test: str, module: str) -> bool:
    """Whether a test names a module; or, for one of proxy, the handler, behind which is all of a call's way."""
    dotted = module.removesuffix(".py").replace("/", ".")
    return dotted in _named(test) or (module in PROXY and "sidecar.proxy.handler" in _named(test))


def _has_functions(module: str) -> bool:
    """Whether a module has a function in which mutmut plants: without a decorator, or with one that it knows."""
    tree = ast.parse((ROOT / module).read_text(encoding="utf-8"))
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return any({ast.unparse(each) for each in function.decorator_list} <= _LOOKED_THROUGH for function in functions)


if __name__ == "__main__":
    sys.exit(main())
