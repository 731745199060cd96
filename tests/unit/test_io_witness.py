"""io/witness.h: both ends of one connection find the same, everybody else something else."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest

from tests.engine_module import load

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.engine_module import Engine

HOSTS = {4: "127.0.0.1", 6: "::1"}


@pytest.fixture(scope="module")
def io() -> Engine:
    return load("io")


@pytest.fixture
def here(io: Engine) -> Any:
    host = io.ffi.new("witness_host *", io.lib.witness_here())
    assert host.known
    return host


@pytest.fixture(params=[4, 6])
def ends(request: pytest.FixtureRequest) -> Iterator[tuple[socket.socket, socket.socket]]:
    """The dialling end and the accepted one."""
    kind = socket.AF_INET if request.param == 4 else socket.AF_INET6
    with socket.create_server((HOSTS[request.param], 0), family=kind) as listener:
        near = socket.create_connection(listener.getsockname()[:2])
        far, _ = listener.accept()
        with near, far:
            yield near, far


def address(io: Engine, host: str, port: int) -> Any:
    kind = socket.AF_INET6 if ":" in host else socket.AF_INET
    out = io.ffi.new("address *")
    out.ip = socket.inet_pton(kind, host).ljust(16, b"\0")
    out.port, out.family = port, 6 if ":" in host else 4
    return out


def tcp_ends(io: Engine, sock: socket.socket) -> tuple[Any, Any]:
    local, remote = io.ffi.new("address *"), io.ffi.new("address *")
    assert io.lib.tcp_ends(sock.fileno(), local, remote)
    return local, remote


def test_both_ends_of_one_connection(io: Engine, here: Any, ends: Any) -> None:
    near, far = ends
    local, remote = tcp_ends(io, near)
    witness = io.lib.witness_of(here, near.fileno(), local, remote)
    local, remote = tcp_ends(io, far)
    assert witness == io.lib.witness_of(here, far.fileno(), remote, local) != 0
    other = address(io, HOSTS[local.family], 1)
    assert witness != io.lib.witness_of(here, far.fileno(), other, local)
    assert witness != io.lib.witness_of(here, far.fileno(), local, remote), "the other way round"


def test_another_kernel_has_another_witness(io: Engine, here: Any, ends: Any) -> None:
    local, remote = tcp_ends(io, ends[0])
    other = io.ffi.new("witness_host *", here[0])
    other.boot[0] ^= 1
    found = [io.lib.witness_of(host, ends[0].fileno(), local, remote) for host in (here, other)]
    assert found[0] != found[1]


def test_no_witness_where_nothing_is_known(io: Engine, here: Any, ends: Any) -> None:
    local, remote = tcp_ends(io, ends[0])
    nothing = io.ffi.new("witness_host *")
    assert io.lib.witness_of(nothing, ends[0].fileno(), local, remote) == 0
    assert io.lib.witness_of(here, -1, local, remote) == 0


@pytest.mark.parametrize(
    ("ours", "theirs", "stays"),
    [
        ("10.0.0.5", "10.0.0.5", True),
        ("10.0.0.5", "10.0.0.6", False),  # perhaps two interfaces and a cable between them
        ("127.0.0.1", "127.9.9.9", True),
        ("127.0.0.1", "10.0.0.5", False),
        ("fe80::5", "fe80::5", True),
        ("fe80::5", "fe80::6", False),
    ],
)
def test_only_what_never_reaches_a_device(
    io: Engine, here: Any, ends: Any, ours: str, theirs: str, stays: bool
) -> None:
    at = address(io, ours, 40_000), address(io, theirs, 7400)
    assert (io.lib.witness_of(here, ends[0].fileno(), *at) != 0) == stays


def test_the_ends_of_what_is_no_connection(io: Engine) -> None:
    with socket.socket() as alone:
        assert not io.lib.tcp_ends(alone.fileno(), *(io.ffi.new("address *") for _ in range(2)))
