"""seal/aead.h and seal/aead_cache.h: the primitives against published values, and the cache."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from tests.engine_module import load

CORE = load("seal")
ffi, lib = CORE.ffi, CORE.lib

CIPHERS = [lib.CIPHER_AES_256_GCM, lib.CIPHER_CHACHA20_POLY1305]


def sealed(kind: int, key: bytes, nonce: int, ad: bytes, plain: bytes, *, cut: int = 0) -> bytes:
    """Sealed with a context of its own, in two updates."""
    context = ffi.new("aead_context *")
    out, tag = ffi.new("uint8_t[]", len(plain) + 1), ffi.new("uint8_t[16]")
    lib.aead_key(context, kind, True, key)
    lib.aead_begin(context, nonce, ad, len(ad))
    lib.aead_update(context, plain[:cut], out, cut)
    lib.aead_update(context, plain[cut:], out + cut, len(plain) - cut)
    lib.aead_seal_finish(context, tag)
    lib.aead_drop(context)
    return bytes(ffi.buffer(out, len(plain))) + bytes(tag)


def opened(kind: int, key: bytes, nonce: int, ad: bytes, box: bytes) -> bytes | None:
    context = ffi.new("aead_context *")
    bytes_ = ffi.new("uint8_t[]", box[:-16] + b"\0")
    lib.aead_key(context, kind, False, key)
    lib.aead_begin(context, nonce, ad, len(ad))
    lib.aead_update(context, bytes_, bytes_, len(box) - 16)
    genuine = lib.aead_open_finish(context, box[-16:])
    lib.aead_drop(context)
    return bytes(ffi.buffer(bytes_, len(box) - 16)) if genuine else None


def test_aes_256_gcm_published() -> None:
    # Test case 14 of "The Galois/Counter Mode of Operation", McGrew and Viega.
    box = sealed(lib.CIPHER_AES_256_GCM, bytes(32), 0, b"", bytes(16))
    assert box.hex() == "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"


def test_chacha20_poly1305_published() -> None:
    # RFC 8439, A.5: its nonce has our form, 4 zero bytes and then 64 bits.
    key = bytes.fromhex("1c9240a5eb55d38af333888604f6b5f0473917c1402b80099dca5cbc207075c0")
    ad = bytes.fromhex("f33388860000000000004e91")
    nonce = int.from_bytes(bytes(range(1, 9)), "little")
    text = (
        "Internet-Drafts are draft documents valid for a maximum of six months and may be "
        "updated, replaced, or obsoleted by other documents at any time. It is inappropriate to "
        "use Internet-Drafts as reference material or to cite them other than as "
        "/\u201cwork in progress./\u201d"
    ).encode()
    box = sealed(lib.CIPHER_CHACHA20_POLY1305, key, nonce, ad, text)
    assert box[:16].hex() == "64a0861575861af460f062c79be643bd"
    assert box[-16:].hex() == "eead9d67890cbb22392336fea1851f38"
    assert opened(lib.CIPHER_CHACHA20_POLY1305, key, nonce, ad, box) == text


@pytest.mark.parametrize("kind", CIPHERS)
@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 64, 1200])
def test_round_trip_in_pieces(kind: int, size: int) -> None:
    key, plain = bytes(range(32)), bytes(i % 251 for i in range(size))
    whole = sealed(kind, key, 7, b"head", plain)
    assert {sealed(kind, key, 7, b"head", plain, cut=cut) for cut in {0, size // 3, size}} == {
        whole
    }
    assert opened(kind, key, 7, b"head", whole) == plain
    assert opened(kind, key, 8, b"head", whole) is None
    assert opened(kind, key, 7, b"hexd", whole) is None
    assert opened(kind, bytes(32), 7, b"head", whole) is None


@pytest.mark.parametrize("kind", CIPHERS)
def test_every_flipped_bit_fails(kind: int) -> None:
    key = bytes(range(32))
    box = sealed(kind, key, 1, b"", b"twelve bytes")
    for bit in range(len(box) * 8):
        forged = bytearray(box)
        forged[bit // 8] ^= 1 << bit % 8
        assert opened(kind, key, 1, b"", bytes(forged)) is None


def test_one_context_changes_key_cipher_and_direction() -> None:
    context = ffi.new("aead_context *")
    tag = ffi.new("uint8_t[16]")
    plain = b"the same context"
    for key in [bytes(32), bytes(range(32)), bytes(32)]:
        for kind in CIPHERS:
            box = sealed(kind, key, 3, b"", plain)
            out = ffi.new("uint8_t[]", 16)
            lib.aead_key(context, kind, True, key)
            lib.aead_begin(context, 3, ffi.NULL, 0)
            lib.aead_update(context, plain, out, 16)
            lib.aead_seal_finish(context, tag)
            assert bytes(out) + bytes(tag) == box
            lib.aead_key(context, kind, False, key)
            lib.aead_begin(context, 3, ffi.NULL, 0)
            lib.aead_update(context, out, out, 16)
            assert lib.aead_open_finish(context, tag)
            assert bytes(out) == plain
    lib.aead_drop(context)
    assert bytes(ffi.buffer(context)) == bytes(ffi.sizeof("aead_context"))


def test_preferred_is_available() -> None:
    assert lib.aead_available(lib.aead_preferred())
    assert lib.aead_available(lib.CIPHER_PLAIN)
    assert not lib.aead_available(lib.CIPHER_COUNT)


def pieces_of(*parts: bytes) -> tuple[object, list[object]]:
    kept = [ffi.from_buffer("uint8_t[]", part) for part in parts]
    array = ffi.new("aead_piece[]", len(parts))
    for i, part in enumerate(kept):
        array[i].bytes, array[i].size = part, len(parts[i])
    return array, kept


def test_hashes_equal_those_of_the_standard_library() -> None:
    key, parts = bytes(range(32)), (b"one ", b"", b"two" * 100)
    array, _kept = pieces_of(*parts)
    out, check = ffi.new("uint8_t[32]"), ffi.new("uint8_t[16]")
    lib.aead_sha256(array, 3, out)
    assert bytes(out) == hashlib.sha256(b"".join(parts)).digest()
    for secret in [key, key, bytes(32), key]:
        wanted = hmac.digest(secret, b"".join(parts), "sha256")
        lib.aead_hmac(secret, array, 3, out)
        assert bytes(out) == wanted
        lib.aead_check(secret, array, 3, check)
        assert bytes(check) == wanted[:16]


def test_hkdf_as_noise_defines_it() -> None:
    chain, secret = bytes(range(32)), bytes(32)
    for given in [secret, b""]:
        middle = hmac.digest(chain, given, "sha256")
        wanted, last = b"", b""
        for ordinal in (1, 2, 3):
            last = hmac.digest(middle, last + bytes([ordinal]), "sha256")
            wanted += last
        out = ffi.new("uint8_t[3][32]")
        lib.aead_hkdf(chain, given, len(given), out, 3)
        assert bytes(ffi.buffer(out)) == wanted


def test_x25519_published() -> None:
    # RFC 7748, 6.1.
    private = [
        bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"),
        bytes.fromhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"),
    ]
    public = [
        bytes.fromhex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"),
        bytes.fromhex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"),
    ]
    out = ffi.new("uint8_t[32]")
    for mine, other in ((0, 1), (1, 0)):
        lib.aead_public(private[mine], out)
        assert bytes(out) == public[mine]
        assert lib.aead_dh(private[mine], public[mine], public[other], out)
        shared = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"
        assert bytes(out).hex() == shared


def test_x25519_refuses_keys_of_low_order() -> None:
    private, public, shared = bytes(range(32)), ffi.new("uint8_t[32]"), ffi.new("uint8_t[32]")
    lib.aead_public(private, public)
    for other in [bytes(32), b"\x01" + bytes(31)]:
        assert not lib.aead_dh(private, public, other, shared)


def test_equal_and_wipe() -> None:
    assert lib.aead_equal(b"same", b"same", 4)
    assert not lib.aead_equal(b"same", b"samf", 4)
    secret = ffi.new("uint8_t[]", b"secret")
    lib.aead_wipe(secret, 7)
    assert bytes(secret) == bytes(7)


def used(cache: object) -> list[bytes]:
    ways = [cache.set[i][j] for i in range(lib.AEAD_CACHE_SETS) for j in range(lib.AEAD_CACHE_WAYS)]
    return [bytes(way.key) for way in ways if way.inside != ffi.NULL]


def test_cache_keeps_the_latest_of_a_set_and_stays_bounded() -> None:
    cache = ffi.new("aead_cache *")
    keys = [bytes([0, i]) + bytes(30) for i in range(5)]
    kind = lib.CIPHER_AES_256_GCM
    for key in keys[:4]:
        lib.aead_cache_get(cache, kind, True, key)
    first = lib.aead_cache_get(cache, kind, True, keys[0])
    lib.aead_cache_get(cache, kind, True, keys[4])  # the oldest is now key 1
    assert sorted(used(cache)) == [keys[0], keys[2], keys[3], keys[4]]
    assert lib.aead_cache_get(cache, kind, True, keys[0]) == first
    for i in range(1000):
        lib.aead_cache_get(cache, kind, False, i.to_bytes(2, "little") * 16)
    assert len(used(cache)) <= lib.AEAD_CACHE_SETS * lib.AEAD_CACHE_WAYS
    lib.aead_cache_drop(cache)
    assert bytes(ffi.buffer(cache)) == bytes(ffi.sizeof("aead_cache"))


def test_cache_tells_directions_and_ciphers_apart_and_forgets_both() -> None:
    cache, key = ffi.new("aead_cache *"), bytes(range(32))
    contexts = {lib.aead_cache_get(cache, k, way, key) for k in CIPHERS for way in (True, False)}
    assert len(contexts) == 4
    lib.aead_cache_get(cache, CIPHERS[0], True, bytes(32))
    lib.aead_cache_forget(cache, bytes(32))
    lib.aead_cache_forget(cache, key)
    assert used(cache) == []
    assert key not in bytes(ffi.buffer(cache))
