"""Two nodes in network namespaces, big and small calls, and a fault that nobody is told of.

usage: black_hole.py FAULT ARGUMENT

``forget`` all TCP connections that are open, ``swallow`` all of TCP, or be ``narrow``: ARGUMENT is
the path's new MTU. Prints what was seen as one line of JSON; ``test_black_hole.py`` judges. This
program is the router, and starts itself twice as the hosts; they speak by lines with it.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
import zlib
from pathlib import Path

import rudp
from rudp.demo.speak import die_with_parent
from tests.netlink import NEW_NET, Router, enter, settle, unshare

KEY = "17" * 32
PLAIN_PORT = 7100
BODY = bytes(range(256)) * (32 << 12)  # 32 MiB
CALLERS = 4
BEFORE = 3  # big calls that end before the fault
PATIENCE = 60.0  # seconds after the fault until we give up
SHORT, LONG = 3.0, 30.0  # seconds that big calls may take


def tell(**facts) -> None:
    print(json.dumps(facts), flush=True)


def hear() -> dict:
    return json.loads(sys.stdin.readline())


# ---- the server ----


def read_plainly(got: list[int]) -> None:
    """What a plain TCP server would do: read what comes."""
    with socket.create_server(("0.0.0.0", PLAIN_PORT)) as listener, listener.accept()[0] as sock:
        while data := sock.recv(1 << 16):
            got[0] += len(data)


async def serve() -> None:
    ran: dict[str, int] = {}
    got = [0]
    threading.Thread(target=read_plainly, args=(got,), daemon=True).start()
    async with rudp.Node("10.71.2.2:0", key=KEY) as node:

        @node.method
        async def keep(name, body):
            ran[name] = ran.get(name, 0) + 1
            return zlib.crc32(body)

        @node.method(inline=True)
        def seen():
            return ran, got[0]

        tell(address=node.address)
        await asyncio.Event().wait()


# ---- the client ----


def connections() -> list[int]:
    """Our ports of the TCP connections that are established."""
    lines = Path("/proc/self/net/tcp").read_text().splitlines()[1:]
    fields = [line.split() for line in lines]
    return [int(field[1].rpartition(":")[2], 16) for field in fields if field[3] == "01"]


class Plain:
    """Plain TCP beside it, for comparison: a thread that sends a little at a time."""

    def __init__(self, host: str) -> None:
        self.socket = socket.create_connection((host, PLAIN_PORT))
        self.error = ""
        threading.Thread(target=self._send, daemon=True).start()

    def _send(self) -> None:
        try:
            while True:
                self.socket.sendall(bytes(1 << 14))
                time.sleep(0.01)
        except OSError as error:
            self.error = str(error)

    def state(self) -> dict:
        unacknowledged = fcntl.ioctl(self.socket, termios.TIOCOUTQ, bytes(4))
        info = self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)
        return {
            "error": self.error,
            "established": info[0] == 1,
            "unacknowledged": struct.unpack("=i", unacknowledged)[0],
        }


class Client:
    """Big calls from several tasks, small ones from another, and a note of how each ended."""

    def __init__(self, peer: rudp.Peer) -> None:
        self.peer = peer
        self.struck = False
        self.ends: list[dict] = []
        self.small = 0
        self.enough = asyncio.Event()

    async def big(self, name: str, timeout: float) -> bool:
        began, end = self.struck, {"name": name, "error": "", "outcome": ""}
        try:
            right = await self.peer.call("keep", name, BODY, timeout=timeout) == zlib.crc32(BODY)
            assert right, "damaged"
        except rudp.CallError as error:
            end |= {"error": type(error).__name__, "outcome": error.outcome.value}
        self.ends.append(end | {"across": self.struck and not began})
        if len(self.ends) == BEFORE:
            self.enough.set()
        return not end["error"]

    async def stream(self, caller: int) -> None:
        """One big call after the other; the one in which the fault struck is the last."""
        timeout = SHORT if caller == 0 and sys.argv[1] == "swallow" else LONG
        count = 0
        while not self.struck:
            await self.big(f"{caller}.{count}", timeout)
            count += 1

    async def little(self) -> None:
        """Small calls, each of which must succeed; they use UDP."""
        while True:
            await self.peer.call("seen")
            self.small += self.struck
            await asyncio.sleep(0.02)

    async def again(self) -> None:
        """Big calls until one succeeds; the core tries for a lane every 5 s (M5)."""
        count = 0
        while not await self.big(f"again.{count}", LONG):
            await asyncio.sleep(0.2)
            count += 1


def order(**command) -> None:
    """Have the router do it."""
    tell(**command)
    assert hear() == {}


async def call() -> None:
    address = hear()["address"]
    async with rudp.Node("10.71.1.2:0", key=KEY) as node:
        client = Client(node.peer(address))
        await client.peer.call("seen")
        plain = Plain(address.partition(":")[0])
        callers = [asyncio.create_task(client.stream(caller)) for caller in range(CALLERS)]
        little = asyncio.create_task(client.little())
        await client.enough.wait()
        struck = connections()
        order(fault=sys.argv[1], argument=int(sys.argv[2]), ports=struck)
        client.struck = True
        await asyncio.sleep(0.5)  # what had passed the router arrives
        early = (await client.peer.call("seen"))[1]
        await asyncio.wait_for(asyncio.gather(*callers), PATIENCE)
        late = (await client.peer.call("seen"))[1]
        stuck = plain.state() | {"moved": late - early}
        small = client.small
        order(fault="heal")
        await asyncio.wait_for(client.again(), PATIENCE)
        little.cancel()
        await asyncio.wait([little])
        failure = "" if little.cancelled() else repr(little.exception())
        new = [port for port in connections() if port not in struck]
        ran = (await client.peer.call("seen"))[0]
    for end in client.ends:
        end["ran"] = ran.get(end["name"], 0)
    tell(ends=client.ends, small=small, failure=failure, plain=stuck, new=new)


# ---- the router ----


def start(role: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, __file__, *sys.argv[1:], role, str(os.getpid())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def say(program: subprocess.Popen[str], **facts) -> None:
    print(json.dumps(facts), file=program.stdin, flush=True)


def route(client: subprocess.Popen[str], server: subprocess.Popen[str]) -> None:
    for program in (client, server):
        assert program.stdout.readline() == "{}\n", "it has a namespace of its own"
    router = Router(client.pid, server.pid)
    for program in (client, server):
        say(program)
    say(client, **json.loads(server.stdout.readline()))
    for line in client.stdout:
        facts = json.loads(line)
        match facts.get("fault"):
            case "forget":
                router.forget(facts["ports"])
            case "swallow":
                router.swallow()
            case "narrow":
                router.narrow(facts["argument"])
            case "heal":
                router.heal()
            case _:
                print(line, flush=True)
                return
        say(client)


def host(role: str, parent: str) -> None:
    die_with_parent(int(parent))
    unshare(NEW_NET)
    tell()
    assert hear() == {}, "the cable is there"
    side = 1 if role == "client" else 2
    settle(f"10.71.{side}.2", f"10.71.{side}.1")
    asyncio.run(call() if role == "client" else serve())


def main() -> None:
    try:
        enter()
    except OSError as error:
        tell(refused=error.errno)
        return
    programs = [start("client"), start("server")]
    try:
        route(*programs)
    finally:
        for program in programs:
            program.kill()
            program.communicate()


if __name__ == "__main__":
    host(*sys.argv[3:]) if sys.argv[3:] else main()
