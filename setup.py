"""The part of the build that pyproject.toml cannot say: with ``SIDECAR_COMPILE=1`` mypyc compiles the hot modules.

Everything that it makes is in a temporary directory: no native code comes to lie
beside the source, where it would hide what is edited there.
"""

from __future__ import annotations

import sys
from tempfile import TemporaryDirectory
from typing import Final

from setuptools import Distribution, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import SetupError

from compiling.modules import ROOT, VARIABLE, compiled_modules, is_asked_for, path_of

#: Calls within the native code go straight to their function, not through a table that another library could change:
#: 3% of the CPU of a call. macOS links so by itself.
_OPTIONS: Final = ("-fvisibility=hidden", "-fno-semantic-interposition", "-fno-plt") if sys.platform == "linux" else ()


class _Distribution(Distribution):  # type: ignore[misc]  # setuptools has no types
    """It has native code, though which is known only when it is built."""

    def has_ext_modules(self) -> bool:
        return True


class _BuildExt(build_ext):  # type: ignore[misc]
    """Has mypyc write the C source, then compiles it."""

    def get_source_files(self) -> list[str]:
        return []  # the C source belongs into no sdist

    def run(self) -> None:
        if self.inplace:
            raise SetupError(f"Native code does not go beside its source: unset {VARIABLE}")
        from mypyc.build import mypycify  # the compiler is there only where something is compiled

        paths = [str(path_of(module).relative_to(ROOT)) for module in compiled_modules()]
        with TemporaryDirectory() as cache:
            extensions = mypycify(
                [f"--config-file={ROOT / 'compiling' / 'mypy.ini'}", f"--cache-dir={cache}", *paths],
                target_dir=self.build_temp,
                group_name="mangopay_sidecar",
                debug_level="0",
            )
        for each in extensions:
            each.extra_compile_args = [*each.extra_compile_args, *_OPTIONS]  # mypyc gives all of them one list
        self.distribution.ext_modules = extensions
        build = build_ext(self.distribution)  # anew: it reads its extensions when it is finalized
        build.ensure_finalized()
        build.run()


if is_asked_for():
    with TemporaryDirectory(prefix="mangopay-sidecar-build-") as base:
        setup(distclass=_Distribution, cmdclass={"build_ext": _BuildExt}, options={"build": {"build_base": base}})
else:
    setup()
