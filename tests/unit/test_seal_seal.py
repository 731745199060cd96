"""seal/seal.h: packets, the replay window (K8), epochs (K7), all of it in plaintext too (K11)."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine_module import load

CORE = load("seal")
ffi, lib = CORE.ffi, CORE.lib

CIPHERS = [lib.CIPHER_PLAIN, lib.CIPHER_AES_256_GCM, lib.CIPHER_CHACHA20_POLY1305]
NEVER = 2**64 - 1
SECOND = 10**9
HEADER = 12


@dataclass
class Packet:
    bytes: bytes
    number: int
    epoch: int


class End:
    """One side of a session, with a cache of its own."""

    def __init__(self, kind: int, *, dialler: bool, packets: int = 1 << 24) -> None:
        self.limits = ffi.new("seal_limits *", {"packets": packets, "age": 3600 * SECOND})
        self.limits.keep = 3 * SECOND
        secrets = ffi.new("session_secrets *")
        secrets.send = bytes([1 if dialler else 2]) * 32
        secrets.receive = bytes([2 if dialler else 1]) * 32
        self.seal, self.cache = ffi.new("seal *"), ffi.new("aead_cache *")
        self.kind, self.now = kind, 0
        lib.seal_start(self.seal, kind, secrets, dialler, 0, self.limits)

    def make(self, body: bytes = b"body", header: bytes = b"h" * HEADER) -> Packet:
        number, epoch = lib.seal_next_number(self.seal), lib.seal_epoch(self.seal)
        packet = ffi.new("uint8_t[]", header + body + bytes(lib.SEAL_TAG_MAX))
        size = lib.seal_protect(self.seal, self.cache, packet, len(header), len(body), number)
        assert size == len(header) + len(body) + lib.seal_tag_size(self.kind)
        return Packet(bytes(ffi.buffer(packet, size)), number, epoch)

    def take(self, packet: Packet) -> tuple[int, bytes]:
        bytes_, plain = ffi.new("uint8_t[]", packet.bytes + b"\0"), ffi.new("size_t *")
        verdict = lib.seal_open(
            self.seal,
            self.cache,
            bytes_,
            HEADER,
            len(packet.bytes),
            packet.number,
            packet.epoch,
            self.now,
            plain,
        )
        return verdict, bytes(ffi.buffer(bytes_ + HEADER, plain[0]))

    def verdict(self, packet: Packet) -> int:
        return self.take(packet)[0]

    def acknowledged(self, packet: Packet) -> None:
        lib.seal_acknowledged(self.seal, packet.number, self.now)

    def tick(self, now: int, keep: int = 0) -> None:
        self.now = now
        lib.seal_tick(self.seal, now, keep)

    def keys_in_cache(self) -> set[bytes]:
        cache = self.cache
        ways = [
            cache.set[i][j] for i in range(lib.AEAD_CACHE_SETS) for j in range(lib.AEAD_CACHE_WAYS)
        ]
        return {bytes(way.key) for way in ways if way.inside != ffi.NULL}


def pair(kind: int, packets: int = 1 << 24) -> tuple[End, End]:
    return End(kind, dialler=True, packets=packets), End(kind, dialler=False, packets=packets)


@pytest.mark.parametrize("kind", CIPHERS)
@pytest.mark.parametrize("body", [b"", b"x", b"0123456789abcdef", bytes(1172)])
def test_round_trip_both_ways(kind: int, body: bytes) -> None:
    dialler, acceptor = pair(kind)
    for number in range(1, 4):
        packet = dialler.make(body)
        assert packet.number == number
        assert packet.bytes[:HEADER] == b"h" * HEADER
        assert acceptor.take(packet) == (lib.SEAL_OK, body)
        assert dialler.take(acceptor.make(body)) == (lib.SEAL_OK, body)


@pytest.mark.parametrize("kind", CIPHERS)
def test_every_flipped_bit_fails_and_changes_nothing(kind: int) -> None:
    dialler, acceptor = pair(kind)
    assert acceptor.verdict(dialler.make()) == lib.SEAL_OK
    before = bytes(ffi.buffer(acceptor.seal))
    packet = dialler.make()
    for bit in range(len(packet.bytes) * 8):
        forged = bytearray(packet.bytes)
        forged[bit // 8] ^= 1 << bit % 8
        forgery = Packet(bytes(forged), packet.number, packet.epoch)
        assert acceptor.verdict(forgery) == lib.SEAL_TAG
    for number in (packet.number + 1, packet.number + 2**32, NEVER):
        assert acceptor.verdict(Packet(packet.bytes, number, packet.epoch)) == lib.SEAL_TAG
    for epoch, wanted in ((1, lib.SEAL_TAG), (2, lib.SEAL_EPOCH), (3, lib.SEAL_EPOCH)):
        assert acceptor.verdict(Packet(packet.bytes, packet.number, epoch)) == wanted
    for size in range(len(packet.bytes)):
        short = Packet(packet.bytes[:size], packet.number, packet.epoch)
        tag = lib.seal_tag_size(kind)
        assert acceptor.verdict(short) == (lib.SEAL_SHORT if size < HEADER + tag else lib.SEAL_TAG)
    assert bytes(ffi.buffer(acceptor.seal)) == before
    assert acceptor.verdict(packet) == lib.SEAL_OK


@pytest.mark.parametrize("kind", CIPHERS)
def test_a_packet_is_not_taken_by_its_sender_nor_by_another_session(kind: int) -> None:
    dialler, acceptor = pair(kind)
    packet = dialler.make()
    assert dialler.verdict(packet) == lib.SEAL_TAG
    other = End(kind, dialler=False)
    other.seal.receive = bytes([9]) * 32
    assert other.verdict(packet) == lib.SEAL_TAG
    assert acceptor.verdict(packet) == lib.SEAL_OK


def test_a_body_is_not_readable() -> None:
    for kind in CIPHERS[1:]:
        packet = End(kind, dialler=True).make(b"a payload that is known")
        assert b"payload" not in packet.bytes


def test_only_drawn_numbers_are_sealed() -> None:
    # K1: a number that was not drawn could be drawn later and seal twice.
    end = End(lib.CIPHER_AES_256_GCM, dialler=True)
    packet = ffi.new("uint8_t[40]")
    for number in (0, 1, 2):
        assert lib.trapped_seal_protect(end.seal, end.cache, packet, number) != ffi.NULL
    assert lib.seal_next_number(end.seal) == 1
    assert lib.trapped_seal_protect(end.seal, end.cache, packet, 1) == ffi.NULL


# -- the window ------------------------------------------------------------------------------------


def test_window_edge() -> None:
    # K8: 2,048 numbers, the highest among them.
    for highest in (2048, 2049, 2111, 4096, 5000):
        dialler, acceptor = pair(lib.CIPHER_PLAIN)
        packets = [dialler.make() for _ in range(highest)]
        assert acceptor.verdict(packets[-1]) == lib.SEAL_OK
        for number in range(1, highest):
            late = highest - number >= lib.SEAL_WINDOW
            wanted = lib.SEAL_LATE if late else lib.SEAL_OK
            assert acceptor.verdict(packets[number - 1]) == wanted
        for number in range(max(highest - 2047, 1), highest + 1):
            assert acceptor.verdict(packets[number - 1]) == lib.SEAL_REPLAY
    assert acceptor.verdict(Packet(packets[0].bytes, 0, 0)) == lib.SEAL_LATE


@given(
    steps=st.lists(
        st.one_of(
            st.integers(1, 3),
            st.integers(-70, 70),
            st.sampled_from([-2048, -2047, 2047, 2048]),
            st.integers(-2100, 2100),
            st.integers(2049, 10000),
        ),
        max_size=80,
    )
)
@settings(max_examples=200)
def test_window_against_a_set(steps: list[int]) -> None:
    end = End(lib.CIPHER_PLAIN, dialler=True)
    other = End(lib.CIPHER_PLAIN, dialler=False)
    end.seal.next = 10**6
    seen: set[int] = set()
    highest = at = 1000
    for step in [0, *steps]:
        at = max(highest + step, 1)
        number = lib.seal_next_number(end.seal)
        end.seal.next = at
        packet = end.make()
        end.seal.next = number + 1
        late = seen and max(seen) - at >= 2048
        wanted = lib.SEAL_LATE if late else lib.SEAL_REPLAY if at in seen else lib.SEAL_OK
        assert other.verdict(packet) == wanted
        if wanted == lib.SEAL_OK:
            seen.add(at)
            highest = max(seen)
    assert other.seal.highest == highest


def test_reorder_by_a_thousand_loses_nothing() -> None:
    dialler, acceptor = pair(lib.CIPHER_AES_256_GCM)
    packets = [dialler.make() for _ in range(4000)]
    rng = random.Random(1)
    order = sorted(packets, key=lambda p: p.number + rng.uniform(0, 1000))
    assert {acceptor.verdict(p) for p in order} == {lib.SEAL_OK}
    assert {acceptor.verdict(p) for p in order} == {lib.SEAL_LATE, lib.SEAL_REPLAY}


# -- epochs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", CIPHERS)
def test_rekey_by_count_waits_for_an_acknowledgement(kind: int) -> None:
    dialler, acceptor = pair(kind, packets=8)
    packets = [dialler.make() for _ in range(20)]
    assert {p.epoch for p in packets} == {0}
    acceptor.verdict(packets[0])
    dialler.acknowledged(packets[0])
    packet = dialler.make()
    assert (packet.number, packet.epoch) == (21, 1)  # K1: numbers go on
    assert acceptor.take(packet) == (lib.SEAL_OK, b"body")
    assert acceptor.verdict(packets[1]) == lib.SEAL_OK  # under the previous key
    more = [dialler.make() for _ in range(20)]
    dialler.acknowledged(packets[1])  # of the epoch before: says nothing about this one
    assert {p.epoch for p in [*more, dialler.make()]} == {1}
    dialler.acknowledged(more[0])
    assert dialler.make().epoch == 2


@pytest.mark.parametrize("kind", CIPHERS)
def test_epochs_of_8_packets_under_reordering(kind: int) -> None:
    # K7: whatever arrives less than an epoch late opens; what is later is refused by name.
    dialler, acceptor = pair(kind, packets=8)
    rng = random.Random(2)
    waiting: list[Packet] = []
    counts = dict.fromkeys([lib.SEAL_OK, lib.SEAL_EPOCH, lib.SEAL_TAG], 0)
    epochs = set()
    for _ in range(3000):
        waiting.append(dialler.make())
        epochs.add(dialler.seal.send[0])
        rng.shuffle(waiting)
        while len(waiting) > rng.randrange(8):
            packet = waiting.pop()
            verdict = acceptor.verdict(packet)
            counts[verdict] += 1
            if verdict == lib.SEAL_OK:
                dialler.acknowledged(packet)
    assert counts[lib.SEAL_OK] > 2700
    assert counts[lib.SEAL_TAG] + counts[lib.SEAL_EPOCH] < 300
    assert len(epochs) > 50
    assert acceptor.take(dialler.make()) == (lib.SEAL_OK, b"body")


def test_without_reordering_every_epoch_opens() -> None:
    for kind in CIPHERS:
        dialler, acceptor = pair(kind, packets=8)
        for i in range(200):
            packet = dialler.make()
            assert packet.epoch == i // 8 % 4
            assert acceptor.verdict(packet) == lib.SEAL_OK
            dialler.acknowledged(packet)


def test_rekey_by_age_and_deadlines() -> None:
    dialler, acceptor = pair(lib.CIPHER_AES_256_GCM)
    hour = 3600 * SECOND
    assert lib.seal_deadline(dialler.seal) == NEVER  # nothing acknowledged yet
    packet = dialler.make()
    acceptor.verdict(packet)
    dialler.tick(hour + 1)
    assert lib.seal_epoch(dialler.seal) == 0
    dialler.now = 5
    dialler.acknowledged(packet)
    assert lib.seal_deadline(dialler.seal) == hour
    dialler.tick(hour - 1)
    assert lib.seal_epoch(dialler.seal) == 0
    dialler.tick(hour)
    assert lib.seal_epoch(dialler.seal) == 1
    assert lib.seal_deadline(dialler.seal) == NEVER
    acceptor.now = hour
    assert acceptor.verdict(dialler.make()) == lib.SEAL_OK
    assert lib.seal_deadline(acceptor.seal) == hour + 3 * SECOND


@pytest.mark.parametrize("kind", CIPHERS)
def test_previous_key_is_kept_for_a_while_and_then_wiped(kind: int) -> None:
    dialler, acceptor = pair(kind, packets=1)
    early, late, first = dialler.make(), dialler.make(), dialler.make()
    dialler.acknowledged(first)
    assert acceptor.verdict(dialler.make()) == lib.SEAL_OK
    assert bytes(acceptor.seal.previous) == bytes([1]) * 32
    assert acceptor.verdict(early) == lib.SEAL_OK
    acceptor.tick(3 * SECOND - 1)
    assert acceptor.seal.held
    acceptor.tick(3 * SECOND, keep=4 * SECOND)
    assert acceptor.seal.held
    assert lib.seal_deadline(acceptor.seal) == 4 * SECOND
    acceptor.tick(4 * SECOND, keep=4 * SECOND)
    assert not acceptor.seal.held
    assert bytes([1]) * 32 not in bytes(ffi.buffer(acceptor.seal))
    assert lib.seal_deadline(acceptor.seal) == NEVER
    assert acceptor.verdict(late) == lib.SEAL_EPOCH


def test_no_context_outlives_its_key() -> None:
    dialler, acceptor = pair(lib.CIPHER_AES_256_GCM, packets=1)
    old = dialler.make()
    acceptor.verdict(old)
    assert dialler.keys_in_cache() == acceptor.keys_in_cache() == {bytes([1]) * 32}
    dialler.acknowledged(old)
    lost, packet = dialler.make(), dialler.make()
    assert acceptor.verdict(packet) == lib.SEAL_OK
    assert acceptor.verdict(Packet(old.bytes, lost.number, 0)) == lib.SEAL_TAG
    for end in (dialler, acceptor):
        assert bytes([1]) * 32 not in end.keys_in_cache()
        assert len(end.keys_in_cache()) == 1
    forged = Packet(packet.bytes, packet.number + 9, 2)
    assert acceptor.verdict(forged) == lib.SEAL_TAG
    assert len(acceptor.keys_in_cache()) == 1
    for end in (dialler, acceptor):
        lib.seal_forget(end.seal, end.cache)
        assert end.keys_in_cache() == set()
        lib.seal_wipe(end.seal)
        assert bytes(ffi.buffer(end.seal)) == bytes(ffi.sizeof("seal"))


def test_an_acknowledgement_of_numbers_never_sent_moves_nothing() -> None:
    dialler, acceptor = pair(lib.CIPHER_AES_256_GCM, packets=1)
    for number in (1, 5, NEVER):
        lib.seal_acknowledged(dialler.seal, number, 0)
    assert lib.seal_epoch(dialler.seal) == 0
    for _ in range(3):  # drawn, not used: the key of an epoch without a packet is not left
        lib.seal_acknowledged(dialler.seal, lib.seal_next_number(dialler.seal), 0)
    packet = dialler.make()
    assert packet.epoch == 1
    assert acceptor.verdict(packet) == lib.SEAL_OK


def test_a_session_is_small() -> None:
    # A6: an idle peer stays below 2 KiB.
    assert ffi.sizeof("seal") <= 450


def test_many_sessions_share_a_cache() -> None:
    ends = [pair(lib.CIPHER_AES_256_GCM) for _ in range(3)]
    for dialler, acceptor in ends:
        dialler.cache = acceptor.cache = ends[0][0].cache
    for i, (dialler, acceptor) in enumerate(ends):
        for end, mine, other in ((dialler, "send", "receive"), (acceptor, "receive", "send")):
            setattr(end.seal, mine, bytes([i, 7]) * 16)
            setattr(end.seal, other, bytes([i, 8]) * 16)
    for _ in range(5):
        for dialler, acceptor in ends:
            assert acceptor.verdict(dialler.make()) == lib.SEAL_OK
            assert dialler.verdict(acceptor.make()) == lib.SEAL_OK


def test_defaults() -> None:
    # K7.
    limits = lib.seal_limits_default
    assert (limits.packets, limits.age, limits.keep) == (2**24, 3600 * SECOND, 3 * SECOND)
