"""The native part of the build; everything else stands in pyproject.toml.

Adds three things to what cffi and setuptools do by themselves: objects are compiled in parallel, an
object that is newer than its source and all headers is kept, and our own sources get our warnings.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MethodType
from typing import Any

from setuptools import setup
from setuptools.command.build_ext import build_ext

sys.path.insert(0, str(Path(__file__).resolve().parent / "native"))
import ffi_build


class BuildNative(build_ext):
    """``build_ext`` that compiles on all cores and rebuilds what changed."""

    def finalize_options(self) -> None:
        """Always the same folder: an editable installation would compile in a passing one."""
        super().finalize_options()
        tag = f"{self.plat_name}-{sys.implementation.cache_tag}"
        self.build_temp = str(Path("build", f"temp.{tag}"))

    def build_extensions(self) -> None:
        """Give the compiler object our ``compile``; force a rebuild when the flags changed."""
        extra = [ext.extra_compile_args for ext in self.extensions]
        flags = repr([extra, ffi_build.own_flags(), self.compiler.compiler_so])
        stamp = Path(self.build_temp) / "flags"
        self.force = bool(self.force) or not stamp.exists() or stamp.read_text() != flags
        force = self.force
        self.compiler.compile = MethodType(
            lambda compiler, sources, **options: compile_all(compiler, sources, force, options),
            self.compiler,
        )
        super().build_extensions()
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.write_text(flags)


def compile_all(
    compiler: Any, sources: list[str], force: bool, options: dict[str, Any]
) -> list[str]:
    """Compile what is out of date, as many at a time as there are CPUs; return all objects."""
    _, objects, extra, cpp_flags, build = compiler._setup_compile(
        options.get("output_dir"),
        options.get("macros"),
        options.get("include_dirs"),
        sources,
        options.get("depends"),
        options.get("extra_postargs"),
    )
    flags = compiler._get_cc_args(cpp_flags, options.get("debug"), None)
    newest_header = max(Path(name).stat().st_mtime for name in ffi_build.headers())

    def compile_one(made: str) -> None:
        source, suffix = build[made]
        target = Path(made)
        newest = max(newest_header, Path(source).stat().st_mtime)
        if not force and target.exists() and target.stat().st_mtime > newest:
            return
        own = ffi_build.own_flags() if source.startswith("native/") else ["-w"]
        compiler._compile(made, source, suffix, flags, [*extra, *own], cpp_flags)

    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        list(pool.map(compile_one, objects))
    return list(objects)


setup(
    cffi_modules=["native/ffi_build.py:ffibuilder"],
    cmdclass={"build_ext": BuildNative},
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
