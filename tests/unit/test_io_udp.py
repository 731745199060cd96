"""io/udp.h over loopback: both addresses (S9), other people's errors (P11), batches."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.engine_module import load

if TYPE_CHECKING:
    from tests.engine_module import Engine

LOOPBACK = "127.0.0.1"


@pytest.fixture(scope="module")
def io() -> Engine:
    return load("io")


def new_address(io: Engine, host: str, port: int = 0) -> Any:
    family = 6 if ":" in host else 4
    packed = socket.inet_pton(socket.AF_INET6 if family == 6 else socket.AF_INET, host)
    out = io.ffi.new("address *")
    out.ip, out.port, out.family = packed.ljust(16, b"\0"), port, family
    return out


def text_of(address: Any) -> tuple[str, int]:
    size = 16 if address.family == 6 else 4
    family = socket.AF_INET6 if address.family == 6 else socket.AF_INET
    return socket.inet_ntop(family, bytes(address.ip)[:size]), address.port


class Udp:
    """One socket of the core's."""

    def __init__(self, io: Engine, host: str) -> None:
        self.io = io
        self.u = io.ffi.new("udp *")
        what = io.ffi.new("char **")
        error = io.lib.udp_open(self.u, new_address(io, host), what)
        assert error == 0, io.ffi.string(what[0])
        self.port: int = self.u.local.port

    def push(self, body: bytes, host: str, port: int, local: str | None = None) -> None:
        slot = self.io.lib.udp_slot(self.u)
        assert slot != self.io.ffi.NULL
        self.io.ffi.memmove(slot, body, len(body))
        own = new_address(self.io, local) if local else self.io.ffi.new("address *")
        self.io.lib.udp_push(self.u, own, new_address(self.io, host, port), slot, len(body))

    def flush(self) -> bool:
        return bool(self.io.lib.udp_flush(self.u))

    def receive(self) -> list[tuple[bytes, Any, Any]]:
        count = self.io.lib.udp_receive(self.u)
        found = [self.u.datagrams[i] for i in range(count)]
        return [(self.io.ffi.buffer(d.bytes, d.size)[:], d.local, d.remote) for d in found]

    def faults(self) -> set[tuple[int, int]]:
        """(port, fault) of everything reported since the last time."""
        found = {(f.remote.port, f.fault) for f in self.u.faults[0 : self.u.fault_count]}
        self.u.fault_count = 0
        return found


@pytest.fixture
def udp(io: Engine) -> Iterator[Any]:
    opened: list[Udp] = []

    def open_at(host: str = LOOPBACK) -> Udp:
        opened.append(Udp(io, host))
        return opened[-1]

    yield open_at
    for one in opened:
        io.lib.udp_close(one.u)


def dead_port() -> int:
    """A port on which nobody listens any more."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
        gone.bind((LOOPBACK, 0))
        return int(gone.getsockname()[1])


def test_a_batch_goes_and_comes(udp: Any) -> None:
    a, b = udp(), udp()
    bodies = [bytes([i]) * (i * 18 + 1) for i in range(64)]
    for body in bodies:
        a.push(body, LOOPBACK, b.port)
    assert a.io.lib.udp_slot(a.u) == a.io.ffi.NULL
    assert a.flush()
    assert a.io.lib.udp_slot(a.u) != a.io.ffi.NULL
    got = b.receive()
    assert [body for body, _, _ in got] == bodies
    assert {text_of(remote) for _, _, remote in got} == {(LOOPBACK, a.port)}
    assert {text_of(local) for _, local, _ in got} == {(LOOPBACK, b.port)}
    assert b.receive() == []


def test_answers_leave_from_the_address_that_was_asked(udp: Any) -> None:
    """S9: on the wildcard address the local address comes in and goes out."""
    node = udp("0.0.0.0")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        client.bind((LOOPBACK, 0))
        for host in ("127.0.0.2", "127.0.0.3"):
            client.sendto(b"?", (host, node.port))
            [(_, local, remote)] = node.receive()
            assert text_of(local) == (host, node.port)
            node.push(b"!", *text_of(remote), local=host)
            assert node.flush()
            assert client.recvfrom(10) == (b"!", (host, node.port))


def test_one_socket_speaks_both_versions(udp: Any) -> None:
    node, four, six = udp("::"), udp(LOOPBACK), udp("::1")
    for other, host in ((four, LOOPBACK), (six, "::1")):
        other.push(b"?", host, node.port)
        assert other.flush()
        [(_, local, remote)] = node.receive()
        assert text_of(local)[0] == host
        assert text_of(remote) == (host, other.port)
        node.push(b"!", host, other.port, local=host)
        assert node.flush()
        [(body, _, source)] = other.receive()
        assert (body, text_of(source)) == (b"!", (host, node.port))


def test_one_dead_peer_spoils_nothing_for_the_others(udp: Any) -> None:
    """P11: no packet to the living is missing, and only the dead one is blamed."""
    node, living, dead = udp(), udp(), dead_port()
    blamed: set[tuple[int, int]] = set()
    for turn in range(20):
        for i in range(64):
            node.push(bytes([turn, i]), LOOPBACK, dead if i % 9 == turn % 9 else living.port)
        assert node.flush()
        wanted = [bytes([turn, i]) for i in range(64) if i % 9 != turn % 9]
        assert [body for body, _, _ in living.receive()] == wanted
        blamed |= node.faults()
    assert node.receive() == []
    blamed |= node.faults()
    assert blamed == {(dead, node.io.lib.SEND_REFUSED)}


def test_receiving_goes_on_past_an_error(udp: Any) -> None:
    """P11: what waits in the socket is given although an error is told first."""
    node, living, dead = udp(), udp(), dead_port()
    node.push(b"x", LOOPBACK, dead)
    assert node.flush()
    living.push(b"here", LOOPBACK, node.port)
    assert living.flush()
    assert [body for body, _, _ in node.receive()] == [b"here"]
    assert node.faults() == {(dead, node.io.lib.SEND_REFUSED)}


def test_a_packet_that_cannot_leave_is_reported_and_skipped(udp: Any) -> None:
    """E3: EACCES (a broadcast), and a family the socket does not speak."""
    node, living = udp(), udp()
    for i in range(12):
        host, port = {3: ("255.255.255.255", 9), 7: ("::1", 10)}.get(i, (LOOPBACK, living.port))
        node.push(bytes([i]), host, port)
    assert node.flush()
    assert [b[0] for b, _, _ in living.receive()] == [i for i in range(12) if i not in (3, 7)]
    unreachable = node.io.lib.SEND_UNREACHABLE
    assert node.faults() == {(9, unreachable), (10, unreachable)}


def test_what_is_too_long_is_cut_over_the_budget(udp: Any) -> None:
    node = udp()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"z" * 9000, (LOOPBACK, node.port))
    [(body, _, _)] = node.receive()
    assert 1200 < len(body) < 9000


def test_losses_in_the_own_kernel_are_counted(udp: Any) -> None:
    """P8: SO_RXQ_OVFL."""
    node = udp()
    own = socket.socket(fileno=node.u.fd)
    try:
        own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            for _ in range(100):
                client.sendto(b"y" * 1000, (LOOPBACK, node.port))
            got = len(node.receive())
            client.sendto(b"after", (LOOPBACK, node.port))
        got += len(node.receive())
        assert node.u.drops == 101 - got > 0
    finally:
        own.detach()


@pytest.mark.parametrize("first", range(0, 59, 7))
def test_a_short_send_keeps_the_rest_and_sends_it_first(udp: Any, first: int) -> None:
    """E3: numbers and nonces are used already, so nothing may be lost, doubled or reordered."""
    node, other = udp(), udp()
    bodies = [bytes([i, first]) for i in range(64)]
    for body in bodies:
        node.push(body, LOOPBACK, other.port)
    try:
        for limit in (first, 0, 5):
            node.io.lib.kernel_takes(limit)
            assert not node.flush()
            assert node.u.full
        node.io.lib.kernel_takes(-1)
        assert node.flush()
    finally:
        node.io.lib.kernel_takes(-1)
    assert not node.u.full
    assert [body for body, _, _ in other.receive()] == bodies
    assert node.faults() == set()
