"""The build backend (PEP 517, PEP 660): setuptools', which asks for the compiler where ``SIDECAR_COMPILE=1``.

pip builds in an environment of its own, with what is asked for here: the compiler in
one version. Whoever wants each package of it held to a hash installs
requirements/compile.txt, and builds with ``--no-build-isolation``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from setuptools import build_meta
from setuptools.build_meta import (
    build_sdist,
    build_wheel,
    get_requires_for_build_sdist,
    prepare_metadata_for_build_wheel,
)

from compiling.modules import VARIABLE, compiler, is_asked_for

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]


def get_requires_for_build_wheel(config_settings: Mapping[str, Any] | None = None) -> list[str]:
    """Return what a wheel needs to be built with, besides setuptools."""
    needed: list[str] = build_meta.get_requires_for_build_wheel(config_settings)
    return [*needed, compiler()] if is_asked_for() else needed


def get_requires_for_build_editable(config_settings: Mapping[str, Any] | None = None) -> list[str]:
    """Return what an editable install needs. Raises SystemExit if it is to be compiled."""
    _refuse_compiled_editable()
    needed: list[str] = build_meta.get_requires_for_build_editable(config_settings)
    return needed


def prepare_metadata_for_build_editable(
    metadata_directory: str, config_settings: Mapping[str, Any] | None = None
) -> str:
    """Write the metadata of an editable install. Raises SystemExit if it is to be compiled."""
    _refuse_compiled_editable()
    name: str = build_meta.prepare_metadata_for_build_editable(metadata_directory, config_settings)
    return name


def build_editable(
    wheel_directory: str, config_settings: Mapping[str, Any] | None = None, metadata_directory: str | None = None
) -> str:
    """Build an editable wheel. Raises SystemExit if it is to be compiled."""
    _refuse_compiled_editable()
    name: str = build_meta.build_editable(wheel_directory, config_settings, metadata_directory)
    return name


def _refuse_compiled_editable() -> None:
    if is_asked_for():
        raise SystemExit(
            f"An editable install runs the source as it is, and native code beside it would hide what you edit: "
            f"unset {VARIABLE}, or install without --editable"
        )
