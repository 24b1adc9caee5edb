"""Which Python a benchmark runs on: how it was built, and which other one is measured too."""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

import pytest

from benchmarks import compare, instructions
from benchmarks.measure import interpreters, machine
from benchmarks.measure.interpreters import Interpreter, NoInterpreterError
from benchmarks.measure.results import Results, Sample
from benchmarks.peers import pypi
from benchmarks.peers.sidecar import InstalledSidecar, SidecarPeer
from benchmarks.peers.site import NotInstallableError
from benchmarks.report import document, targets
from benchmarks.rounds import Plan, Rounds
from benchmarks.scenarios import calls, curve, start

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.bench import Bench


def interpreter(flags: str = "", package: str | None = None, version: str = "3.11.7") -> Interpreter:
    return Interpreter(version, Path("/usr/bin/python3"), flags, package)


@pytest.fixture
def python(tmp_path: Path) -> Callable[..., Path]:
    """Return what makes a program that answers as a Python does."""

    def make(version: str, flags: str = "") -> Path:
        said = {"version": version, "program": f"/nowhere/python{version}", "flags": flags}
        path = tmp_path / f"python-{version}-{len(flags)}"
        path.write_text(f"#!/bin/sh\necho '{json.dumps(said)}'\n")
        path.chmod(0o755)
        return path

    return make


# --- how it was built ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "package", "said"),
    [
        ("", None, "3.11.7 built without PGO"),
        ("'--enable-shared' '--prefix=/opt'", None, "3.11.7 built without PGO"),
        ("-fprofile-generate", None, "3.11.7 built without PGO"),
        ("'--enable-optimizations' '--with-lto'", None, "3.11.7 built with PGO"),
        ("-O3 -fprofile-use -fprofile-correction", None, "3.11.7 built with PGO"),
        ("-fprofile-instr-use=code.profclangd", None, "3.11.7 built with PGO"),
        # What Debian configures with does not say how it builds.
        ("'--enable-shared'", "python3.11-minimal", "3.11.7 built with PGO (package python3.11-minimal)"),
    ],
)
def test_an_interpreter_is_named_with_how_it_was_built(flags: str, package: str | None, said: str) -> None:
    found = interpreter(flags, package)
    assert str(found) == said
    assert found.short == ("3.11.7 PGO" if "with PGO" in said else "3.11.7")


def test_this_interpreter_is_told_in_every_report() -> None:
    found = interpreters.this()
    assert found.version == ".".join(map(str, sys.version_info[:3]))
    assert found.program.is_file()
    assert machine.describe()["Python"].startswith(f"{found}, OpenSSL")
    assert instructions._build().startswith(f"{found}, ")


def test_what_is_no_interpreter_is_said_to_be_none(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("#!/bin/sh\necho Python 3\n")
    other.chmod(0o755)
    for path in (other, tmp_path / "none", tmp_path):
        with pytest.raises(NoInterpreterError, match="is no Python that runs"):
            interpreters.ask(path)


# --- another one -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("candidates", "picked"),
    [
        ([], None),
        ([("3.11.7", "")], None),
        ([("3.11.7", "--enable-optimizations")], 0),
        ([("3.10.9", ""), ("3.9.2", "")], None),
        ([("3.11.7", ""), ("3.13.5", ""), ("3.12.1", "")], 1),
        ([("3.10.9", ""), ("3.14.0", "--enable-optimizations")], 1),
    ],
)
def test_another_python_is_one_of_another_version_or_build_that_the_sidecar_runs_on(
    candidates: list[tuple[str, str]], picked: int | None, python: Callable[..., Path], tmp_path: Path
) -> None:
    paths = [python(*each) for each in candidates]
    found = interpreters.pick(interpreter(), [tmp_path / "none", *paths])
    assert found == (None if picked is None else paths[picked])


def test_it_is_measured_besides_unless_nobody_wants_that(
    python: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    there = python("3.13.5", "--enable-optimizations")
    monkeypatch.setattr(interpreters, "another", lambda: there)

    def names(**given: Any) -> list[str]:
        peers = compare._wanted(
            argparse.Namespace(**{"peers": "none", "sidecar": [], "python": None, "compiled": False, **given})
        )
        return [peer.name for peer in peers]

    assert names() == ["sidecar", "sidecar on 3.13.5 PGO"]
    assert names(python=str(python("3.12.1"))) == ["sidecar", "sidecar on 3.12.1"]
    assert names(python="none") == ["sidecar"]
    own, other = "sidecar", "sidecar on 3.13.5 PGO"
    compiled = ["sidecar compiled", "sidecar compiled on 3.13.5 PGO"]
    assert names(compiled=True) == [own, compiled[0], other, compiled[1]]
    assert names(compiled=True, python="none") == [own, compiled[0]]
    assert names(sidecar=["new=/a", "old=/b"]) == ["new", "old"], "who compares checkouts says on what"
    monkeypatch.setattr(interpreters, "another", lambda: None)
    assert names() == ["sidecar"]


def test_its_environment_is_made_once_of_what_is_pinned_and_of_this_checkout(
    python: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, ran = python("3.13.5"), []

    def run(command: list[str | Path], environ: Mapping[str, str] = MappingProxyType({})) -> str:
        assert not environ
        ran.append([str(each) for each in command])
        if "venv" in command:
            (Path(command[-1]) / "bin").mkdir(parents=True)
        return "Python 3.13.5 (a build)"

    monkeypatch.setattr(pypi, "_run", run)
    for _ in range(2):
        peer = InstalledSidecar(base)
        with pytest.raises(NotInstallableError, match="there is no"):  # nothing was installed in earnest
            peer.install(tmp_path)
        assert peer.command == tmp_path / "sidecar-3.13.5" / "bin" / "mangopay-sidecar"
    place = str(tmp_path / "sidecar-3.13.5")
    asked, venv, pinned, ours, again = ran
    assert asked == again == [str(base), "-VV"]
    assert venv == [str(base), "-m", "venv", "--without-pip", place]
    assert pinned[:5] == ours[:5] == [sys.executable, "-m", "pip", "--python", f"{place}/bin/python"]
    assert [Path(each).name for each in pinned if each.endswith(".txt")] == ["run.txt", "build.txt"]
    assert "--require-hashes" in pinned
    assert ours[-2:] == ["--editable", str(compare.ROOT)]


def test_a_compiled_one_is_compiled_anew_when_the_source_has_changed(
    python: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[list[str | Path]] = []

    def run(command: list[str | Path], environ: Mapping[str, str] = MappingProxyType({})) -> str:
        if "venv" in command:
            (Path(command[-1]) / "bin").mkdir(parents=True)
        if environ == {"SIDECAR_COMPILE": "1"}:
            compiled.append(command)
        return "Python 3.13.5 (a build)"

    checkout = tmp_path / "checkout"
    (checkout / "sidecar").mkdir(parents=True)
    shutil.copytree(compare.ROOT / "requirements", checkout / "requirements")
    monkeypatch.setattr(pypi, "_run", run)
    monkeypatch.setattr(pypi, "_CHECKOUT", checkout)
    source, table = checkout / "sidecar" / "hot.py", checkout / "pyproject.toml"
    (checkout / "setup.py").touch()
    for text, modules in (("a = 1", ""), ("a = 1", ""), ("a = 2", ""), ("a = 2", "hot"), ("a = 2", "hot")):
        source.write_text(text)
        table.write_text(modules)
        with pytest.raises(NotInstallableError, match="there is no"):  # nothing was installed in earnest
            InstalledSidecar(python("3.13.5"), compiled=True).install(tmp_path)
    assert len(compiled) == 3
    assert all(command[-2:] == ["--no-build-isolation", checkout] for command in compiled), "not editable"


# --- in the report ---------------------------------------------------------------------------------------------------


def test_a_start_is_compared_with_the_bare_import_of_its_own_python() -> None:
    other = "sidecar on 3.13.5 PGO"
    results = Results(versions=dict.fromkeys(("sidecar", other), "1"), ours=["sidecar", other])
    for name, own, bare in (("sidecar", 300.0, 200.0), (other, 200.0, 100.0)):
        results.samples.append(Sample(1, start.NAME, name, {"ready_ms": own}))
        results.samples.append(Sample(1, start.NAME, start.bare(name, results.ours), {"ready_ms": bare}))

    def measured(sidecar: str) -> list[float]:
        return [each.measured.median for each in targets.verdicts(results, sidecar) if each.measured is not None]

    assert (measured("sidecar"), measured(other)) == ([1.5], [2.0])
    text = document.sections(results, ".")["Results"]
    for row in ("sidecar", other, "import aiohttp.web", f"import aiohttp.web ({other})"):
        assert f"\n| {row} | " in text
    assert f"### Targets: {other}" in text
    assert f"### From sidecar to {other}" in text


def test_every_sidecar_starts_beside_its_own_python_and_curves_are_drawn_on_one(
    python: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    imported: list[Path] = []

    def bare_import(_: Bench, path: Path) -> dict[str, float]:
        imported.append(path)
        return {"ready_ms": 1.0}

    monkeypatch.setattr(start, "bare_import", bare_import)
    monkeypatch.setattr(start, "start", lambda *_: {"ready_ms": 2.0})
    monkeypatch.setattr(curve, "measure", lambda *_: {"grown_mib": 1.0})
    monkeypatch.setattr(curve, "POINTS", curve.POINTS[:2])
    other = InstalledSidecar(python("3.13.5"))
    other.command = Path("/other/bin/mangopay-sidecar")
    peers = [SidecarPeer("sidecar", Path("/first/bin/mangopay-sidecar")), other]
    plan = Plan(2, 1.0, 0.0, calls.ALL[:0], life=False, gains=(), curves=1)
    results = Rounds(cast("Bench", None), plan, peers, random.Random(1), lambda _: None).run()
    assert set(imported) == {Path("/first/bin/python"), Path("/other/bin/python")}
    names = ["sidecar", "sidecar on 3.13.5", "import aiohttp.web", "import aiohttp.web (sidecar on 3.13.5)"]
    for name in names:
        assert set(results.figures(start.NAME, name, "ready_ms")) == {1, 2}
    drawn = {sample.peer for sample in results.samples if sample.scenario == curve.POINTS[0].name}
    assert drawn == {"sidecar"}
