"""The version says whether the hot modules are native code."""

from __future__ import annotations

import platform
import traceback

import pytest

from sidecar import native
from sidecar.core.errors import SidecarError
from sidecar.core.http import framing
from sidecar.version import __version__
from tests.support.build import EXPECT_COMPILED
from tests.support.source import source_of

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


def test_a_traceback_names_file_and_line_of_the_source() -> None:
    with pytest.raises(SidecarError) as caught:
        framing.check_request("GET", (2, 0), ())
    frame = traceback.extract_tb(caught.value.__traceback__)[-1]
    assert frame.filename.endswith("sidecar/core/http/framing.py")
    assert frame.lineno is not None
    assert source_of(framing).splitlines()[frame.lineno - 1].strip().startswith("raise ")
