"""Builds the pure layers of the C core as a module, so that Python tests can call inside.

    engine = load("wire")            # base and wire, with everything tests/cdef says about them
    engine.lib.packet_decode(...)    # a compiled call, not ctypes: structures are checked
    engine.ffi.new("packet *")

To make a header callable, add ``tests/cdef/<layer>_<file>.h``: the declarations a test needs
from ``native/<layer>/<file>.h``, in cffi's C (``...`` for what it should find out itself). A
``.c`` beside it may hold wrappers, such as one that catches a broken ENSURE with ``TRAPPED``.

A layer is built with those below it and without those above, so a mistake in engine/ does not
stop the tests of base/. The result is kept in ``build/tests/`` under a hash of all that went into
it, and a lock lets parallel test runs wait for one build. ``RUDP_TEST_CFLAGS`` adds flags, for
example ``-fsanitize=undefined``.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import importlib.util
import os
import re
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cffi

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
NATIVE = ROOT / "native"
CDEF = ROOT / "tests" / "cdef"
BUILD = ROOT / "build" / "tests"

LAYERS = ("base", "wire", "seal", "engine", "io")
LIBRARIES = {"seal": ["-lcrypto"], "io": ["-Wl,--wrap=sendmmsg"]}

COMMON_FLAGS = ["-std=gnu11", "-O1", "-g", "-fPIC", "-I", str(NATIVE)]
STRICT_FLAGS = ["-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror"]

BUILD_SECONDS = 300.0


@dataclass(frozen=True)
class Engine:
    """A compiled module: ``ffi`` makes structures, ``lib`` holds functions and constants."""

    ffi: Any
    lib: Any


@functools.cache
def load(layer: str) -> Engine:
    """Give the layer with all below it, built if need be.

    Raises RuntimeError with the compiler's words if it does not compile.
    """
    layers = LAYERS[: LAYERS.index(layer) + 1]
    name = f"rudp_test_{layer}"
    folder = BUILD / f"{layer}-{_fingerprint(layers)}"
    module_path = folder / f"{name}{sysconfig.get_config_var('EXT_SUFFIX')}"
    BUILD.mkdir(parents=True, exist_ok=True)
    with (BUILD / f"{layer}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not module_path.exists():
            folder.mkdir(exist_ok=True)
            unfinished = folder / "unfinished"
            _build(name, layers, folder, unfinished)
            unfinished.replace(module_path)
    spec = importlib.util.spec_from_file_location(name, module_path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return Engine(module.ffi, module.lib)


def _sources(layers: tuple[str, ...]) -> list[Path]:
    return [path for layer in layers for path in sorted((NATIVE / layer).glob("*.c"))]


def _snippets(layers: tuple[str, ...], suffix: str) -> list[Path]:
    return [path for layer in layers for path in sorted(CDEF.glob(f"{layer}_*{suffix}"))]


def _inputs(layers: tuple[str, ...]) -> Iterator[Path]:
    yield Path(__file__)
    yield CDEF / "prelude.c"
    yield from _snippets(layers, ".h")
    yield from _snippets(layers, ".c")
    yield from _sources(layers)
    for layer in layers:
        yield from sorted((NATIVE / layer).glob("*.h"))


def _extra_flags() -> list[str]:
    return os.environ.get("RUDP_TEST_CFLAGS", "").split()


def _fingerprint(layers: tuple[str, ...]) -> str:
    digest = hashlib.sha256(repr((sys.version, cffi.__version__, _extra_flags())).encode())
    for path in _inputs(layers):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(ROOT)} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()[:16]


def _declarations(path: Path) -> str:
    """A snippet without its comments, which cffi reads only in part."""
    return re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)


def _header_of(snippet: Path) -> str:
    layer, _, file = snippet.name.partition("_")
    return f'#include "{layer}/{file}"'


def _build(name: str, layers: tuple[str, ...], folder: Path, output: Path) -> None:
    ffi = cffi.FFI()
    headers = _snippets(layers, ".h")
    for snippet in _in_dependency_order(headers):
        ffi.cdef(_declarations(snippet))
    preamble = [_header_of(path) for path in headers]
    preamble += [path.read_text() for path in [CDEF / "prelude.c", *_snippets(layers, ".c")]]
    ffi.set_source(name, "\n".join(preamble))
    glue = folder / f"{name}.c"
    ffi.emit_c_code(str(glue))
    include = ["-I", sysconfig.get_path("include")]
    # The glue is cffi's and does not pass the strict flags; ours must, headers included.
    _compile([*COMMON_FLAGS, *include, "-c", str(glue), "-o", str(folder / "glue.o")])
    sources = [str(path) for path in _sources(layers)]
    libraries = [flag for layer in layers for flag in LIBRARIES.get(layer, [])]
    ours = [*COMMON_FLAGS, *STRICT_FLAGS, *sources, str(folder / "glue.o"), *libraries]
    _compile([*ours, "-shared", "-o", str(output)])


def _in_dependency_order(snippets: list[Path]) -> list[Path]:
    """Snippets named in another's first lines as ``/* after: base_list.h */`` come before it."""
    by_name = {path.name: path for path in snippets}
    ordered: list[Path] = []

    def visit(path: Path) -> None:
        if path in ordered:
            return
        for names in re.findall(r"/\* after: (.*?) \*/", path.read_text()):
            for needed in names.split():
                visit(by_name[needed])
        ordered.append(path)

    for path in snippets:
        visit(path)
    return ordered


def _compile(arguments: list[str]) -> None:
    command = [os.environ.get("CC", "cc"), *arguments, *_extra_flags()]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr}")
