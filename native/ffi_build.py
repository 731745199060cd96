"""How ``rudp._native`` is built: which sources, which flags, and what cffi reads.

The marked region of ``native/include/rudp.h`` is the cdef, so the C surface is written once.
Sources are found by their folder, so a new file needs no change here.

Environment: ``RUDP_WERROR=1`` turns warnings into errors (ours only, never a user's build),
``RUDP_SANITIZE=address,undefined`` or ``thread`` builds an instrumented module.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path

from cffi import FFI

ROOT = Path(__file__).resolve().parent.parent if "__file__" in globals() else Path.cwd()
LAYERS = ("base", "wire", "seal", "engine", "io", "api", "python")
CDEF_BEGIN = "/* cffi begin */"
CDEF_END = "/* cffi end */"

WARNINGS = ["-Wall", "-Wextra", "-Wconversion", "-Wshadow"]
FLAGS = ["-std=gnu11", "-O2", "-g", "-fvisibility=hidden", "-pthread"]

# Rule 1. cffi's wrapper releases the GIL around every call, and one release beside a busy thread
# costs a whole switch interval. The release is a macro of the generated file, so it is kept only
# for functions named ..._wait; the compiler folds the test away.
PREAMBLE = """
#include "include/rudp.h"

#define MAY_BLOCK (__builtin_strstr(__func__, "_wait") != 0)
#undef  Py_BEGIN_ALLOW_THREADS
#define Py_BEGIN_ALLOW_THREADS { PyThreadState *_save = MAY_BLOCK ? PyEval_SaveThread() : 0;
#undef  Py_END_ALLOW_THREADS
#define Py_END_ALLOW_THREADS   if (MAY_BLOCK) PyEval_RestoreThread(_save); }
"""

MISSING_CRYPTO = """
rudp needs the headers of OpenSSL's libcrypto, 3.0 or newer, and pkg-config to find them.
On Debian or Ubuntu type:

    sudo apt-get install libssl-dev pkg-config
"""


def native_files(pattern: str) -> list[str]:
    """Sorted paths, relative to the root, of the files in all layers that match ``pattern``."""
    found = [path for layer in LAYERS for path in (ROOT / "native" / layer).glob(pattern)]
    return sorted(str(path.relative_to(ROOT)) for path in found)


def headers() -> list[str]:
    """Everything a source distribution must carry beside the sources, and a rebuild depends on."""
    surface = sorted((ROOT / "native" / "include").glob("*.h"))
    names = [str(path.relative_to(ROOT)) for path in surface]
    return [*native_files("*.h"), *names, "native/ffi_build.py"]


def cdef() -> str:
    """The region of ``rudp.h`` between the two marker lines."""
    text = (ROOT / "native" / "include" / "rudp.h").read_text(encoding="utf-8")
    before, begin, rest = text.partition(CDEF_BEGIN)
    region, end, _ = rest.partition(CDEF_END)
    if not begin or not end:
        raise SystemExit(f"native/include/rudp.h lacks the lines {CDEF_BEGIN} and {CDEF_END}")
    return "\n" * before.count("\n") + region


def libcrypto(option: str) -> list[str]:
    """What pkg-config says about libcrypto, or an exit that says what to type."""
    program = shutil.which("pkg-config")
    if program is None:
        raise SystemExit(MISSING_CRYPTO)
    found = subprocess.run(
        [program, option, "libcrypto >= 3.0"], capture_output=True, text=True, check=False
    )
    if found.returncode != 0:
        raise SystemExit(MISSING_CRYPTO + "\npkg-config said: " + found.stderr.strip())
    return shlex.split(found.stdout)


def sanitizers() -> list[str]:
    """Flags for ``RUDP_SANITIZE``; none for an ordinary build."""
    chosen = os.environ.get("RUDP_SANITIZE", "")
    return [f"-fsanitize={chosen}", "-fno-omit-frame-pointer"] if chosen else []


def own_flags() -> list[str]:
    """Flags for our own sources alone: the file that cffi writes does not live up to them."""
    return [*WARNINGS, "-Werror"] if os.environ.get("RUDP_WERROR") == "1" else list(WARNINGS)


ffibuilder = FFI()
ffibuilder.cdef(cdef())
ffibuilder.set_source(
    "rudp._native",
    PREAMBLE,
    sources=native_files("*.c"),
    depends=headers(),
    include_dirs=["native"],
    extra_compile_args=[*FLAGS, *sanitizers(), *libcrypto("--cflags")],
    extra_link_args=["-pthread", *sanitizers(), *libcrypto("--libs")],
)
