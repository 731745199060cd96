"""io/tcp.h: connections that give up by themselves (section 4 of the architecture, T8, T9)."""

from __future__ import annotations

import errno
import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.engine_module import load

if TYPE_CHECKING:
    from tests.engine_module import Engine

TCP_NOTSENT_LOWAT = 25
PATIENCE = 4_000_000_000


@pytest.fixture(scope="module")
def io() -> Engine:
    return load("io")


def new_address(io: Engine, port: int = 0, last: int = 1) -> Any:
    out = io.ffi.new("address *")
    out.ip, out.port, out.family = bytes([127, 0, 0, last] + [0] * 12), port, 4
    return out


def dial(io: Engine, port: int, segment_size: int = 0, local: int | None = None) -> int:
    wish = io.ffi.new("tcp_dial *")
    wish.remote, wish.family, wish.patience = new_address(io, port)[0], 4, PATIENCE
    wish.segment_size = segment_size
    if local is not None:
        wish.local = new_address(io, 0, local)[0]
    return int(io.lib.tcp_connect(wish))


@contextmanager
def listening(io: Engine) -> Iterator[socket.socket]:
    what = io.ffi.new("char **")
    fd = io.lib.tcp_listen(new_address(io), what)
    assert fd >= 0, io.ffi.string(what[0])
    with socket.socket(fileno=fd) as listener:
        yield listener


@contextmanager
def pair(io: Engine, **options: Any) -> Iterator[tuple[socket.socket, socket.socket]]:
    with listening(io) as listener:
        near = dial(io, listener.getsockname()[1], **options)
        assert near >= 0
        select.select([listener], [], [], 5)
        local, remote = io.ffi.new("address *"), io.ffi.new("address *")
        far = io.lib.tcp_accept(listener.fileno(), PATIENCE, local, remote)
        assert far >= 0
        with socket.socket(fileno=near) as a, socket.socket(fileno=far) as b:
            assert (local.port, remote.port) == (b.getsockname()[1], a.getsockname()[1])
            yield a, b


def test_both_ends_have_every_option(io: Engine) -> None:
    with pair(io) as ends:
        for end in ends:
            assert not end.get_inheritable()
            assert end.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
            assert end.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 4000
            assert end.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            idle = end.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
            interval = end.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL)
            count = end.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT)
            assert idle + interval * count <= 4
            assert end.getsockopt(socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT) == io.lib.TCP_UNSENT
            chosen = end.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
            assert chosen.rstrip(b"\0") in (b"cubic", b"reno")


def test_nothing_blocks(io: Engine) -> None:
    with pair(io) as (a, b):
        for end in (a, b):
            with pytest.raises(BlockingIOError):
                end.recv(1, socket.MSG_PEEK)
    with listening(io) as listener:
        local, remote = io.ffi.new("address *"), io.ffi.new("address *")
        assert io.lib.tcp_accept(listener.fileno(), PATIENCE, local, remote) == -errno.EAGAIN


def test_the_segment_size_bounds_both_directions(io: Engine) -> None:
    """T8: set before connect, so that the peer obeys it too."""
    with pair(io, segment_size=536) as (a, b):
        select.select([], [a], [], 5)
        assert a.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) <= 536
        assert b.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) <= 536


def test_dialling_from_the_address_that_udp_uses(io: Engine) -> None:
    with pair(io, local=5) as (a, _b):
        assert a.getsockname()[0] == "127.0.0.5"


def test_a_refusal_is_told(io: Engine) -> None:
    with socket.socket() as gone:
        gone.bind(("127.0.0.1", 0))
        port = gone.getsockname()[1]
        fd = dial(io, port)
        if fd >= 0:
            select.select([], [fd], [], 5)
            assert io.lib.tcp_error(fd) == errno.ECONNREFUSED
            io.lib.tcp_close(fd)
        else:
            assert fd == -errno.ECONNREFUSED


def test_a_port_in_use_is_told(io: Engine) -> None:
    with listening(io) as listener:
        what = io.ffi.new("char **")
        taken = new_address(io, listener.getsockname()[1])
        assert io.lib.tcp_listen(taken, what) == -errno.EADDRINUSE
        assert io.ffi.string(what[0]) in (b"bind", b"listen")
