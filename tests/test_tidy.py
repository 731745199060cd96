"""The style guide (docs/style.md) as a test: what is measurable about it is measured here.

Each test collects every breach and shows them all as ``path:line: what``, so one run is enough.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("native", "rudp", "tests", "benchmarks", "examples")
SINGLE_FILES = ("setup.py", ".ci/run.py")

FILE_LINES = 500
FUNCTION_LINES = 70
COLUMNS = 100
MEDIAN_FILE_LINES = 200
MEDIAN_FUNCTION_LINES = 16

# A file may include only from its own layer and from layers before it.
LAYERS = ("base", "wire", "seal", "engine", "io", "api", "python")
PURE = frozenset(LAYERS[:4])
RANK = {layer: rank for rank, layer in enumerate(LAYERS)} | {"include": LAYERS.index("api")}

# Time, randomness, memory and input are arguments in the pure layers, never fetched.
BANNED_WORDS = {
    word: re.compile(rf"\b{word}\b") for word in ("malloc", "calloc", "realloc", "clock_gettime")
} | {
    "free": re.compile(r"\bfree\s*\("),
    "time": re.compile(r"(?<![.>])\btime\s*\("),
    "rand": re.compile(r"\bs?rand(om)?\s*\("),
    "getrandom": re.compile(r"\bgetrandom\b"),
    "errno": re.compile(r"\berrno\b"),
}
PRINTF = re.compile(r"\bv?f?printf\s*\(")
BANNED_HEADERS = re.compile(
    r"^(sys/.*|linux/.*|arpa/.*|net/.*|netinet/.*|openssl/.*"
    r"|errno|fcntl|netdb|poll|pthread|sched|signal|stdlib|threads|time|unistd)(\.h)?$"
)
# Fragments for cffi's parser, which knows neither directives nor whole files.
CDEF_FOLDER = "tests/cdef/"
CRYPTO_FILE = "native/seal/aead_openssl.c"  # the one door to libcrypto

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
WAIVER = re.compile(r"/\* tidy: allow ([\w./]+): \S")
OPEN_ENDS = re.compile(r"\b(T[O]DO|F[I]XME|X[X]X|NotImplemented[E]rror)\b")
MACHINE_PATHS = re.compile(r"(^|[^.\w])/(work|farm|root|home|tmp/brief)/")
EMPTY_C_COMMENT = re.compile(r"/\*[\s*]*\*/")


@dataclass(frozen=True)
class Source:
    """One source file; ``name`` is its path from the root."""

    name: str
    text: str

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()

    @property
    def is_python(self) -> bool:
        return not self.name.endswith((".c", ".h"))

    @property
    def layer(self) -> str | None:
        parts = self.name.split("/")
        return parts[1] if parts[0] == "native" and parts[1] in RANK else None


@dataclass(frozen=True)
class Function:
    """A function's place and length in lines, signature and braces included."""

    source: Source
    line: int
    length: int


@cache
def sources() -> tuple[Source, ...]:
    """Every file of our own that is C or Python."""
    paths = [ROOT / name for name in SINGLE_FILES]
    for folder in FOLDERS:
        paths += [p for p in (ROOT / folder).rglob("*") if p.suffix in {".c", ".h", ".py", ".pyi"}]
    return tuple(
        Source(str(path.relative_to(ROOT)), path.read_text(encoding="utf-8"))
        for path in sorted(paths)
        if path.is_file()
    )


def c_sources(*, native: bool = False) -> list[Source]:
    return [
        s for s in sources() if not s.is_python and (not native or s.name.startswith("native/"))
    ]


def blank(match: re.Match[str]) -> str:
    """The match with everything but its line ends replaced, so positions stay."""
    return re.sub(r"[^\n]", " ", match.group())


C_NOISE = re.compile(r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])+'", re.DOTALL)
PREPROCESSOR = re.compile(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", re.MULTILINE)


@cache
def c_code(source: Source) -> str:
    """The text without comments, strings and character constants, at the same positions."""
    return C_NOISE.sub(blank, source.text)


def c_functions(source: Source) -> Iterator[Function]:
    """Functions by matching braces: a body stands at depth 0 behind a closing parenthesis."""
    code = PREPROCESSOR.sub(blank, c_code(source))
    depth = start = 0
    is_function = False
    for at, char in enumerate(code):
        if char == "{":
            if depth == 0:
                head = re.sub(r"__attribute__\s*\(\(.*?\)\)\s*$", "", code[start:at].rstrip())
                is_function = head.rstrip().endswith(")")
            depth += 1
        elif char == "}":
            depth -= 1
            if depth == 0 and is_function:
                begin = start + len(code[start:]) - len(code[start:].lstrip())
                first, last = code.count("\n", 0, begin), code.count("\n", 0, at)
                yield Function(source, first + 1, last - first + 1)
        if depth == 0 and char in ";}":
            start, is_function = at + 1, False


def python_functions(source: Source) -> Iterator[Function]:
    for node in ast.walk(ast.parse(source.text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            yield Function(source, node.lineno, node.end_lineno - node.lineno + 1)


@cache
def functions() -> tuple[Function, ...]:
    return tuple(
        function
        for source in sources()
        for function in (python_functions if source.is_python else c_functions)(source)
    )


def waived(source: Source, number: int, word: str) -> bool:
    """True if the line, or the one above it, carries a waiver for the word with a reason."""
    around = source.lines[max(0, number - 2) : number]
    return any(match.group(1) == word for line in around for match in WAIVER.finditer(line))


def forbid(candidates: list[Source], find: Callable[[Source], Iterator[tuple[int, str]]]) -> None:
    """Fail with one line per breach that ``find`` reports as (line number, words)."""
    found = [f"{s.name}:{line}: {what}" for s in candidates for line, what in find(s)]
    if found:
        pytest.fail("\n".join(found), pytrace=False)


def test_no_file_is_longer_than_the_limit():
    def find(source: Source) -> Iterator[tuple[int, str]]:
        if len(source.lines) > FILE_LINES:
            yield 1, f"{len(source.lines)} lines"

    forbid(list(sources()), find)


def test_no_function_is_longer_than_one_screen():
    def find(source: Source) -> Iterator[tuple[int, str]]:
        for function in functions():
            if function.source is source and function.length > FUNCTION_LINES:
                yield function.line, f"{function.length} lines"

    forbid(list(sources()), find)


def test_medians_are_small():
    files = median(len(source.lines) for source in sources())
    length = median(function.length for function in functions())
    print(f"median file {files} lines, median function {length} lines, of {len(functions())}")
    assert files <= MEDIAN_FILE_LINES
    assert length <= MEDIAN_FUNCTION_LINES


def test_lines_fit_and_end_clean():
    def find(source: Source) -> Iterator[tuple[int, str]]:
        for number, line in enumerate(source.lines, 1):
            if len(line) > COLUMNS:
                yield number, f"{len(line)} columns"
            if line != line.rstrip() or ("\t" in line and not source.is_python):
                yield number, "tab, or blanks at the end"

    forbid(list(sources()), find)


def test_layers_include_only_downward():
    def find(source: Source) -> Iterator[tuple[int, str]]:
        for number, line in enumerate(source.lines, 1):
            match = INCLUDE.match(line)
            if not match or match.group(1) == "<" or source.layer is None:
                continue
            layer = match.group(2).split("/")[0]
            if "/" not in match.group(2) or layer not in RANK:
                yield number, "an include is written relative to native/"
            elif RANK[layer] > RANK[source.layer]:
                yield number, f"{source.layer} includes {layer}"

    forbid(c_sources(native=True), find)


def test_pure_layers_name_nothing_of_the_outside():
    def find(source: Source) -> Iterator[tuple[int, str]]:
        for number, line in enumerate(c_code(source).splitlines(), 1):
            words = [word for word, pattern in BANNED_WORDS.items() if pattern.search(line)]
            for word in words:
                if not waived(source, number, word):
                    yield number, word

    forbid([s for s in c_sources(native=True) if s.layer in PURE], find)


def test_pure_layers_include_no_system():
    def find(source: Source) -> Iterator[tuple[int, str]]:
        for number, line in enumerate(source.lines, 1):
            match = INCLUDE.match(line)
            if not match or not BANNED_HEADERS.match(match.group(2)):
                continue
            if match.group(2).startswith("openssl/") and source.name == CRYPTO_FILE:
                continue
            if not waived(source, number, match.group(2)):
                yield number, match.group(2)

    forbid([s for s in c_sources(native=True) if s.layer in PURE], find)


def test_only_one_file_knows_the_crypto_library():
    def find(source: Source) -> Iterator[tuple[int, str]]:
        for number, line in enumerate(source.lines, 1):
            if "openssl/" in line and INCLUDE.match(line):
                yield number, line.strip()

    forbid([s for s in c_sources(native=True) if s.name != CRYPTO_FILE], find)


def test_the_core_does_not_print():
    def find(source: Source) -> Iterator[tuple[int, str]]:
        for number, line in enumerate(c_code(source).splitlines(), 1):
            if PRINTF.search(line) and not waived(source, number, "printf"):
                yield number, line.strip()

    forbid(c_sources(native=True), find)


def test_headers_have_guards_named_after_their_place():
    def find(source: Source) -> Iterator[tuple[int, str]]:
        code = re.findall(r"^\s*#\s*(\w+)\s*(\w*)", c_code(source), re.MULTILINE)
        stem = Path(source.name).stem.upper().replace("-", "_")
        if source.layer == "include":
            stem = "RUDP_H"
        elif source.layer:
            stem = f"RUDP_{source.layer.upper()}_{stem}_H"
        else:
            stem = f"{stem}_H"
        if code[:1] != [("ifndef", code[1][1] if len(code) > 1 else "")]:
            yield 1, "the first directive is not the guard's #ifndef"
        elif not code[0][1].endswith(stem) or code[1][0] != "define":
            yield 1, f"the guard is {code[0][1]}, not {stem}"

    headers = [s for s in c_sources() if s.name.endswith(".h")]
    forbid([s for s in headers if not s.name.startswith(CDEF_FOLDER)], find)


def test_every_file_says_first_what_it_is():
    """A .c file is explained by its header, or explains itself."""

    def find(source: Source) -> Iterator[tuple[int, str]]:
        if not source.text.strip():
            return
        if source.is_python:
            first = source.text.lstrip()
            if not ast.get_docstring(ast.parse(source.text)) and not first.startswith("# "):
                yield 1, "no docstring"
        elif not source.text.startswith("/* ") and source.name[:-1] + "h" not in names:
            yield 1, "no leading comment, and no header of the same name that has it"

    names = {source.name for source in sources() if source.text.startswith("/* ")}
    forbid([s for s in sources() if not s.name.startswith(CDEF_FOLDER)], find)


def test_nothing_is_left_open():
    def find(source: Source) -> Iterator[tuple[int, str]]:
        for number, line in enumerate(source.lines, 1):
            for pattern in (OPEN_ENDS, MACHINE_PATHS):
                if match := pattern.search(line):
                    yield number, match.group().strip()

    forbid([s for s in sources() if s.name != "tests/test_tidy.py"], find)


def test_no_comment_is_empty():
    def find(source: Source) -> Iterator[tuple[int, str]]:
        if source.is_python:
            empty = [n for n, line in enumerate(source.lines, 1) if line.strip() == "#"]
        else:
            found = EMPTY_C_COMMENT.finditer(source.text)
            empty = [source.text.count("\n", 0, match.start()) + 1 for match in found]
        yield from ((number, "empty comment") for number in empty)

    forbid(list(sources()), find)


def test_waivers_are_used():
    """A waiver that allows nothing any more would hide the next breach."""

    def find(source: Source) -> Iterator[tuple[int, str]]:
        code = c_code(source).splitlines()
        for number, line in enumerate(source.lines, 1):
            for match in WAIVER.finditer(line):
                word = match.group(1)
                near = [*code[number - 1 : number + 1]]
                if not any(word in text for text in near):
                    yield number, f"nothing to allow: {word}"

    forbid(c_sources(native=True), find)


def test_function_finder_sees_what_a_reader_sees():
    text = """/* a { brace in a comment */
static const int table[] = { 1, 2 };
struct pair { int a; };
#define BODY(x) do { \\
    x(); } while (0)
static int first(int a)
{
    if (a) { return '{'; }
    return table[0];
}

__attribute__((noinline)) void second(struct pair *p,
                                      const char *s)
{
    p->a = s[0] == '"';
}
"""
    found = [(f.line, f.length) for f in c_functions(Source("native/base/x.c", text))]
    assert found == [(6, 5), (12, 5)]
