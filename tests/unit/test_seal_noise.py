"""seal/noise.h: the published vectors of NNpsk0, with both ciphers of a session (K3)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.engine_module import load

CORE = load("seal")
ffi, lib = CORE.ffi, CORE.lib

VECTORS = {
    vector["protocol_name"]: vector
    for vector in json.loads(
        (Path(__file__).parent.parent / "vectors" / "noise_nnpsk0.json").read_text()
    )["vectors"]
}
CHACHA = VECTORS["Noise_NNpsk0_25519_ChaChaPoly_SHA256"]
AES = VECTORS["Noise_NNpsk0_25519_AESGCM_SHA256"]

PSK = bytes.fromhex(CHACHA["init_psks"][0])
PROLOGUE = bytes.fromhex(CHACHA["init_prologue"])
EPHEMERALS = [bytes.fromhex(CHACHA[side + "_ephemeral"]) for side in ("init", "resp")]


def begun(prologue: bytes = PROLOGUE, psk: bytes = PSK) -> Any:
    state = ffi.new("noise *")
    lib.noise_begin(state, prologue, len(prologue), psk)
    return state


def written(state: Any, ordinal: int, payload: bytes) -> bytes:
    out = ffi.new("uint8_t[]", len(payload) + lib.NOISE_OVERHEAD)
    write = [lib.noise_write_first, lib.noise_write_second][ordinal]
    assert write(state, EPHEMERALS[ordinal], payload, len(payload), out) in (None, True)
    return bytes(out)


def read(state: Any, ordinal: int, message: bytes) -> bytes | None:
    size = len(message) - lib.NOISE_OVERHEAD
    out = ffi.new("uint8_t[]", max(size, 0) + 1)
    take = [lib.noise_read_first, lib.noise_read_second][ordinal]
    return bytes(ffi.buffer(out, size)) if take(state, message, len(message), out) else None


def split(state: Any) -> tuple[bytes, bytes]:
    dialler, acceptor = ffi.new("uint8_t[32]"), ffi.new("uint8_t[32]")
    lib.noise_split(state, dialler, acceptor)
    return bytes(dialler), bytes(acceptor)


def sealed(kind: int, key: bytes, nonce: int, ad: bytes, plain: bytes) -> bytes:
    context, tag = ffi.new("aead_context *"), ffi.new("uint8_t[16]")
    out = ffi.new("uint8_t[]", len(plain))
    lib.aead_key(context, kind, True, key)
    lib.aead_begin(context, nonce, ad, len(ad))
    lib.aead_update(context, plain, out, len(plain))
    lib.aead_seal_finish(context, tag)
    lib.aead_drop(context)
    return bytes(out) + bytes(tag)


def test_published_vector() -> None:
    dialler, acceptor = begun(), begun()
    messages = [
        (bytes.fromhex(m["payload"]), bytes.fromhex(m["ciphertext"])) for m in CHACHA["messages"]
    ]
    assert written(dialler, 0, messages[0][0]) == messages[0][1]
    assert read(acceptor, 0, messages[0][1]) == messages[0][0]
    assert written(acceptor, 1, messages[1][0]) == messages[1][1]
    assert read(dialler, 1, messages[1][1]) == messages[1][0]
    assert bytes(dialler.hash).hex() == CHACHA["handshake_hash"]
    assert bytes(acceptor.hash).hex() == CHACHA["handshake_hash"]
    keys = split(dialler)
    assert keys == split(acceptor)
    for i, (payload, ciphertext) in enumerate(messages[2:]):
        ours = sealed(lib.CIPHER_CHACHA20_POLY1305, keys[i % 2], i // 2, b"", payload)
        assert ours == ciphertext


def test_who_learns_the_cluster_key_later_opens_message_1_and_no_more() -> None:
    """K3: with key and recording he has all of the dialler's state but the ephemeral key."""
    dialler, acceptor = begun(), begun()
    first = written(dialler, 0, b"parameters")
    assert read(acceptor, 0, first) == b"parameters"
    second = written(acceptor, 1, b"answer")
    recorder = begun()
    assert read(recorder, 0, first) == b"parameters"
    assert bytes(recorder.chain) == bytes(dialler.chain)
    assert bytes(recorder.hash) == bytes(dialler.hash)

    def opened_with(private: bytes) -> bytes | None:
        guess = ffi.new("noise *", recorder[0])
        guess.public, guess.private = dialler.public, private
        return read(guess, 1, second)

    for private in (bytes(31) + b"\1", PSK, bytes(dialler.chain), bytes(dialler.hash)):
        assert opened_with(private) is None
    assert opened_with(EPHEMERALS[0]) == b"answer"  # nothing else was missing


class SymmetricState:
    """Noise's, over the primitives of aead.h and any of its ciphers.

    An independent reading of the specification, and the way to the vector of AES-256-GCM.
    """

    def __init__(self, name: bytes, kind: int) -> None:
        self.kind = kind
        self.hash = self.chain = name.ljust(32, b"\0") if len(name) <= 32 else self.sha(name)
        self.key = b""

    @staticmethod
    def sha(data: bytes) -> bytes:
        out, kept = ffi.new("uint8_t[32]"), ffi.from_buffer("uint8_t[]", data)
        lib.aead_sha256(ffi.new("aead_piece *", {"bytes": kept, "size": len(data)}), 1, out)
        return bytes(out)

    def expand(self, given: bytes, outputs: int) -> list[bytes]:
        out = ffi.new("uint8_t[3][32]")
        lib.aead_hkdf(self.chain, given, len(given), out, outputs)
        return [bytes(block) for block in out[0:outputs]]

    def mix_hash(self, data: bytes) -> None:
        self.hash = self.sha(self.hash + data)

    def mix_key(self, given: bytes) -> None:
        self.chain, self.key = self.expand(given, 2)

    def mix_psk(self, psk: bytes) -> None:
        self.chain, mixed, self.key = self.expand(psk, 3)
        self.mix_hash(mixed)

    def mix_ephemeral(self, public: bytes) -> None:
        self.mix_hash(public)
        self.mix_key(public)

    def seal(self, payload: bytes) -> bytes:
        box = sealed(self.kind, self.key, 0, self.hash, payload)
        self.mix_hash(box)
        return box


@pytest.mark.parametrize(
    ("vector", "kind"), [(CHACHA, lib.CIPHER_CHACHA20_POLY1305), (AES, lib.CIPHER_AES_256_GCM)]
)
def test_published_vector_with_the_cipher_of_packets(vector: dict[str, Any], kind: int) -> None:
    state = SymmetricState(vector["protocol_name"].encode(), kind)
    private = [bytes.fromhex(vector[side + "_ephemeral"]) for side in ("init", "resp")]
    public, shared = [ffi.new("uint8_t[32]") for _ in private], ffi.new("uint8_t[32]")
    for i, secret in enumerate(private):
        lib.aead_public(secret, public[i])
    assert lib.aead_dh(private[0], public[0], public[1], shared)
    payloads = [bytes.fromhex(m["payload"]) for m in vector["messages"]]
    wanted = [bytes.fromhex(m["ciphertext"]) for m in vector["messages"]]
    state.mix_hash(bytes.fromhex(vector["init_prologue"]))
    state.mix_psk(bytes.fromhex(vector["init_psks"][0]))
    state.mix_ephemeral(bytes(public[0]))
    assert bytes(public[0]) + state.seal(payloads[0]) == wanted[0]
    state.mix_ephemeral(bytes(public[1]))
    state.mix_key(bytes(shared))
    assert bytes(public[1]) + state.seal(payloads[1]) == wanted[1]
    assert state.hash.hex() == vector["handshake_hash"]
    keys = state.expand(b"", 2)
    for i, payload in enumerate(payloads[2:]):
        assert sealed(kind, keys[i % 2], i // 2, b"", payload) == wanted[i + 2]


@pytest.mark.parametrize("payload", [b"", b"x", bytes(1000)])
def test_round_trip(payload: bytes) -> None:
    dialler, acceptor = begun(), begun()
    assert read(acceptor, 0, written(dialler, 0, payload)) == payload
    assert read(dialler, 1, written(acceptor, 1, payload)) == payload
    assert split(dialler) == split(acceptor)


def test_other_prologue_or_key_fails() -> None:
    message = written(begun(), 0, b"payload")
    assert read(begun(prologue=PROLOGUE + b"\0"), 0, message) is None
    assert read(begun(prologue=PROLOGUE[:-1]), 0, message) is None
    assert read(begun(psk=bytes(32)), 0, message) is None


def test_every_flipped_bit_fails_and_leaves_the_state_usable() -> None:
    dialler, acceptor = begun(), begun()
    messages = [written(dialler, 0, b"payload")]
    for ordinal, state in ((0, acceptor), (1, dialler)):
        before = bytes(ffi.buffer(state))
        message = messages[ordinal]
        for bit in range(len(message) * 8):
            forged = bytearray(message)
            forged[bit // 8] ^= 1 << bit % 8
            assert read(state, ordinal, bytes(forged)) is None
        assert read(state, ordinal, message[:-1]) is None
        assert read(state, ordinal, b"") is None
        assert bytes(ffi.buffer(state)) == before
        assert read(state, ordinal, message) == b"payload"
        messages.append(written(acceptor, 1, b"payload") if ordinal == 0 else b"")


def test_low_order_keys_are_refused() -> None:
    acceptor = begun()
    assert read(acceptor, 0, written(begun(), 0, b"")) == b""
    acceptor.public = bytes(32)
    out = ffi.new("uint8_t[]", lib.NOISE_OVERHEAD)
    assert not lib.noise_write_second(acceptor, EPHEMERALS[1], b"", 0, out)
    dialler = begun()
    written(dialler, 0, b"")
    assert read(dialler, 1, bytes(lib.NOISE_OVERHEAD)) is None
