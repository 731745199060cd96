"""What does a forked child get? A clear error, and the parent goes on unharmed (section 7)."""

from __future__ import annotations

import pytest

CHILD = """
import os, sys

def in_child(use):
    \"\"\"What `use` raises in a forked child.\"\"\"
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            use()
            text = "nothing"
        except BaseException as error:
            text = type(error).__name__
        os.write(writing, text.encode())
        os._exit(0)
    os.close(writing)
    found = os.read(reading, 100).decode()
    os.close(reading)
    os.waitpid(pid, 0)
    return found
"""

ASYNCIO = """
import asyncio, rudp
async def main():
    async with rudp.Node() as server, rudp.Node() as client:
        server.register("echo", lambda v: v, inline=True)
        peer = client.peer(server.address)
        assert await peer.call("echo", 1) == 1
        print(in_child(lambda: peer.call("echo", 2)))
        print(in_child(lambda: client.statistics()))
        print(in_child(lambda: client.peer("127.0.0.1:1")))
        for n in range(100):
            assert await peer.call("echo", n) == n
        big = bytes(1 << 20)
        assert await peer.call("echo", big) == big
asyncio.run(main())
print("end")
"""

SYNC = """
import rudp.sync
with rudp.sync.Node() as server, rudp.sync.Node() as client:
    server.register("echo", lambda v: v, inline=True)
    peer = client.peer(server.address)
    assert peer.call("echo", 1) == 1
    print(in_child(lambda: peer.call("echo", 2)))
    print(in_child(lambda: client.statistics()))
    print(in_child(lambda: client.peer("127.0.0.1:1")))
    for n in range(100):
        assert peer.call("echo", n) == n
print("end")
"""

NEW_NODE = """
import rudp.sync
with rudp.sync.Node() as server:
    server.register("echo", lambda v: v, inline=True)
    address = server.address
    def use():
        with rudp.sync.Node() as node:
            assert node.peer(address).call("echo", 5) == 5
    print(in_child(use))
print("end")
"""


@pytest.mark.parametrize("kind", [ASYNCIO, SYNC], ids=["asyncio", "sync"])
def test_the_child_gets_an_error_and_the_parent_goes_on(script, kind):
    ended = script(CHILD + kind)
    assert ended.stdout == "ForkedError\n" * 3 + "end\n", ended.stderr


def test_the_child_may_open_a_node_of_its_own(script):
    ended = script(CHILD + NEW_NODE)
    assert ended.stdout == "nothing\nend\n", ended.stderr
