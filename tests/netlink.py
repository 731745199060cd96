"""Three network namespaces, a router between two hosts, and what the router may do to packets.

    host 10.71.1.2 --veth-- 10.71.1.1 [ this process ] 10.71.2.1 --veth-- 10.71.2.2 host

No tool is needed: the kernel is asked over rtnetlink, and nothing has to be removed, since the
namespaces end with their processes. Whoever is not root gets a user namespace as well. The router
is the kernel's own. It loses packets by policy rules of the kind "blackhole", which can tell TCP
from UDP and one port from another; where the answer would be an ICMP error, none is sent either.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from pathlib import Path

NEW_USER, NEW_NET = 0x10000000, 0x40000000

REQUEST_ACK_CREATE = 0x0001 | 0x0004 | 0x0400
ERROR = 2
NEW_LINK, NEW_ADDRESS, NEW_ROUTE, NEW_RULE, DELETE_RULE = 16, 20, 24, 32, 33
UP = 1
# Attributes, by what they belong to.
LINK_NAME, LINK_MTU, LINK_INFO, LINK_PID, LINK_FAMILIES = 3, 4, 18, 19, 26
CONF_INET, CONF_FORWARDING = 1, 1
INFO_KIND, INFO_DATA, VETH_PEER = 1, 2, 1
ADDRESS, ADDRESS_LOCAL = 1, 2
GATEWAY = 5
RULE_PRIORITY, RULE_PROTOCOL, RULE_SOURCE_PORTS, RULE_TARGET_PORTS = 6, 22, 23, 24
TABLE_MAIN, PROTOCOL_STATIC, TYPE_UNICAST, BLACKHOLE = 254, 4, 1, 6
PRIORITY = 100  # behind what is for the router itself, before every route


def unshare(flags: int) -> None:
    """Leave the namespaces of the parent; OSError if that is refused."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def enter() -> None:
    """A network namespace of our own, in a user namespace if that is what it takes.

    OSError if this machine refuses both, or gives one in which we may do nothing.
    """
    uid, gid = os.getuid(), os.getgid()
    try:
        unshare(NEW_NET)
    except PermissionError:
        unshare(NEW_USER | NEW_NET)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
        Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    Kernel().up("lo")


def attribute(kind: int, content: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(content), kind) + content + bytes(-len(content) % 4)


def number(value: int) -> bytes:
    return struct.pack("=I", value)


def link(index: int = 0, flags: int = 0) -> bytes:
    return struct.pack("=BxHiII", 0, 0, index, flags, flags)


class Kernel:
    """The namespace that we were in when this was made."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self.rules: list[bytes] = []

    def ask(self, kind: int, *parts: bytes) -> None:
        """One request; OSError if it is refused."""
        body = b"".join(parts)
        self.socket.send(
            struct.pack("=IHHII", 16 + len(body), kind, REQUEST_ACK_CREATE, 1, 0) + body
        )
        answer = self.socket.recv(65536)
        _, answered, _, _, _, negative = struct.unpack_from("=IHHIIi", answer)
        assert answered == ERROR
        if negative:
            raise OSError(-negative, os.strerror(-negative))

    def cable(self, name: str, pid: int) -> None:
        """A veth pair: ``name`` here, ``wire`` in the namespace of the process."""
        there = link() + attribute(LINK_NAME, b"wire\0") + attribute(LINK_PID, number(pid))
        data = attribute(INFO_DATA, attribute(VETH_PEER, there))
        info = attribute(LINK_INFO, attribute(INFO_KIND, b"veth") + data)
        self.ask(NEW_LINK, link(), attribute(LINK_NAME, name.encode() + b"\0"), info)

    def up(self, name: str, address: str = "") -> None:
        index = socket.if_nametoindex(name)
        if address:
            packed = socket.inet_aton(address)
            here = struct.pack("=BBBBI", socket.AF_INET, 24, 0, 0, index)
            both = attribute(ADDRESS_LOCAL, packed) + attribute(ADDRESS, packed)
            self.ask(NEW_ADDRESS, here, both)
        self.ask(NEW_LINK, link(index, UP))

    def forward(self, name: str) -> None:
        """Packets that come in there may go on; by netlink, since /proc/sys may be read-only."""
        setting = attribute(CONF_INET, attribute(CONF_FORWARDING, number(1)))
        families = attribute(LINK_FAMILIES, attribute(socket.AF_INET, setting))
        self.ask(NEW_LINK, link(socket.if_nametoindex(name)), families)

    def route_all(self, gateway: str) -> None:
        kinds = (socket.AF_INET, 0, 0, 0, TABLE_MAIN, PROTOCOL_STATIC, 0, TYPE_UNICAST, 0)
        self.ask(
            NEW_ROUTE,
            struct.pack("=BBBBBBBBI", *kinds),
            attribute(GATEWAY, socket.inet_aton(gateway)),
        )

    def narrow(self, name: str, mtu: int) -> None:
        """Packets of more bytes do not pass, in either direction."""
        index = socket.if_nametoindex(name)
        self.ask(NEW_LINK, link(index), attribute(LINK_MTU, number(mtu)))

    def lose(self, protocol: int, ports: int = 0, port: int = 0) -> None:
        """Packets of the protocol vanish, or those from or to the port."""
        rule = struct.pack("=BBBBBBBBI", socket.AF_INET, 0, 0, 0, 0, 0, 0, BLACKHOLE, 0)
        rule += attribute(RULE_PRIORITY, number(PRIORITY))
        rule += attribute(RULE_PROTOCOL, bytes([protocol]))
        if ports:
            rule += attribute(ports, struct.pack("=HH", port, port))
        self.ask(NEW_RULE, rule)
        self.rules.append(rule)

    def heal(self) -> None:
        """Nothing is lost any more."""
        for rule in self.rules:
            self.ask(DELETE_RULE, rule)
        self.rules.clear()


def settle(address: str, gateway: str) -> None:
    """In a host: make use of the cable that was put into our namespace."""
    kernel = Kernel()
    kernel.up("lo")
    kernel.up("wire", address)
    kernel.route_all(gateway)


class Router:
    """This process's namespace, between those of two others, which have one of their own."""

    def __init__(self, first: int, second: int) -> None:
        self.kernel = Kernel()
        for side, pid in enumerate((first, second), 1):
            self.kernel.cable(f"side{side}", pid)
            self.kernel.up(f"side{side}", f"10.71.{side}.1")
            self.kernel.forward(f"side{side}")

    def forget(self, ports: list[int]) -> None:
        """Packets of these TCP connections vanish, as behind a middlebox that lost its table."""
        for port in ports:
            for which in (RULE_SOURCE_PORTS, RULE_TARGET_PORTS):
                self.kernel.lose(socket.IPPROTO_TCP, which, port)

    def swallow(self) -> None:
        """All packets of TCP vanish."""
        self.kernel.lose(socket.IPPROTO_TCP)

    def narrow(self, mtu: int) -> None:
        """Larger packets vanish, and nobody is told (RFC 2923's black hole)."""
        self.kernel.lose(socket.IPPROTO_ICMP)
        for side in (1, 2):
            self.kernel.narrow(f"side{side}", mtu)

    def heal(self) -> None:
        """As it was before ``forget`` or ``swallow``."""
        self.kernel.heal()
