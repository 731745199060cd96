"""The relay: what it carries arrives as it was, what it drops and cuts is counted."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import random
import select
import socket
import threading
import time

import pytest

from rudp.demo.batch import BATCH, Batch
from rudp.demo.links import Link, from_json, links_between, seen_by
from rudp.demo.streams import Streams


def pair():
    """Two connected sockets, each of which hears the other only."""
    first, second = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    first.bind(("127.0.0.1", 0))
    second.bind(("127.0.0.1", 0))
    first.connect(second.getsockname())
    second.connect(first.getsockname())
    return first, second


@pytest.fixture
def datagrams():
    sockets = [*pair(), *pair()]
    yield sockets
    for sock in sockets:
        sock.close()


def arrived(sock):
    found = []
    while select.select([sock], [], [], 0.2)[0]:
        found.append(sock.recv(4096))
    return found


@pytest.mark.parametrize("count", [1, 3, BATCH])
def test_datagrams_arrive_as_they_were(datagrams, count):
    outside, near, far, other = datagrams
    sent = [random.Random(n).randbytes(n * 1200 // count) for n in range(count)]
    for data in sent:
        outside.send(data)
    select.select([near], [], [], 5)
    batch = Batch()
    assert batch.forward(near, far, random.Random(1), 0.0) == (count, 0)
    assert arrived(other) == sent
    assert batch.forward(near, far, random.Random(1), 0.0) == (0, 0)


def test_dropped_datagrams_are_counted_and_the_rest_keeps_its_order(datagrams):
    outside, near, far, other = datagrams
    sent = [n.to_bytes(2, "big") for n in range(BATCH)]
    for data in sent:
        outside.send(data)
    came, dropped = Batch().forward(near, far, random.Random(1), 0.3)
    assert (came, 0 < dropped < BATCH) == (BATCH, True)
    found = arrived(other)
    assert len(found) == came - dropped
    assert found == sorted(found)
    assert set(found) < set(sent)


def test_a_target_that_is_gone_is_no_error(datagrams):
    outside, near, far, other = datagrams
    other.close()
    for _ in range(3):
        outside.send(b"x")
        select.select([near], [], [], 5)
        assert Batch().forward(near, far, random.Random(1), 0.0) == (1, 0)


def test_links_name_both_sides_for_each_other():
    addresses = ["127.0.0.1:1001", "127.0.0.1:1002", "127.0.0.1:1003"]
    links = links_between(addresses, 1)
    assert len(links) == 3
    seen = [seen_by(addresses, links, n) for n in range(3)]
    assert seen[0] == {1: "127.1.0.1:1002", 2: "127.1.0.2:1003"}
    assert seen[2] == {0: "127.1.2.0:1001", 1: "127.1.2.1:1002"}
    assert seen_by(addresses, [], 1) == {0: addresses[0], 2: addresses[2]}
    assert [from_json(json.loads(json.dumps(dataclasses.asdict(x)))) for x in links] == links


@pytest.fixture
def proxied():
    """A listener, and where a relay proxies it."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    a = ("127.0.0.1", 9)  # nobody is called there
    link = Link(a, ("127.0.0.1", port), ("127.1.9.8", port), ("127.1.8.9", port))
    streams = Streams([link], 1)
    thread = threading.Thread(target=streams.run)
    thread.start()
    yield listener, link.b_seen, streams
    streams.stopped = True
    thread.join()
    listener.close()


def drain(sock, into):
    while data := sock.recv(1 << 20):
        into.extend(data)


def test_streams_carry_every_byte_both_ways_and_end_politely(proxied):
    listener, seen, streams = proxied
    client = socket.create_connection(seen)
    server, remote = listener.accept()
    assert remote[0] == "127.1.9.8"  # as the link says
    data = random.Random(3).randbytes(20_000_003)
    got, back = bytearray(), bytearray()
    reader = threading.Thread(target=drain, args=(server, got))
    reader.start()
    client.sendall(data)
    client.shutdown(socket.SHUT_WR)
    reader.join(60)
    assert got == data
    server.sendall(b"answer")
    server.close()
    drain(client, back)
    assert back == b"answer"
    client.close()
    # The relay counts in its own thread, after the bytes have gone on.
    for _ in range(1000):
        if streams.carried == len(data) + 6:
            break
        time.sleep(0.01)
    assert streams.carried == len(data) + 6


def test_a_cut_ends_the_connection_on_both_sides(proxied):
    listener, seen, streams = proxied
    streams.life = 0.001
    for _ in range(6):
        with socket.create_connection(seen) as client, listener.accept()[0] as server:
            for sock in (client, server):
                sock.settimeout(30)
                with contextlib.suppress(ConnectionResetError):
                    assert sock.recv(1) == b""
    assert streams.cuts >= 6


def test_a_target_that_refuses_ends_the_connection(proxied):
    listener, seen, _ = proxied
    listener.close()
    with socket.create_connection(seen) as client:
        client.settimeout(30)
        with contextlib.suppress(ConnectionResetError):
            assert client.recv(1) == b""
