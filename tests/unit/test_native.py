"""The version says whether the hot modules are native code."""

from __future__ import annotations

import platform

import pytest

from sidecar import native
from sidecar.version import __version__
from tests.support.build import EXPECT_COMPILED

#: Native in any installation: the sidecar refuses to serve without it.
_NATIVE = "aiohttp._http_parser"


def test_a_module_is_native_or_is_not() -> None:
    assert native.is_native(_NATIVE)
    assert not native.is_native("sidecar.version")
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        native.is_native("sidecar.no_such_module")


def test_the_pure_build_says_its_version_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "_ONE", "sidecar.version")
    assert native.version() == __version__


def test_the_compiled_build_says_for_what_it_was_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "_ONE", _NATIVE)
    python = f"{platform.python_implementation()} {platform.python_version()}"
    assert native.version() == f"{__version__} (compiled, {python})"


def test_this_build_is_the_one_that_is_tested() -> None:
    assert ("compiled" in native.version()) is EXPECT_COMPILED
