"""api/views.c: counters, views, traces and names."""

from __future__ import annotations

import struct

from rudp._native import ffi, lib
from tests.native_node import RawNode, answer, drive

RECORD = struct.Struct("<QQIIHHIQ")


def names(function: object, most: int) -> list[str]:
    pointers = [function(i) for i in range(most)]  # type: ignore[operator]
    return [ffi.string(p).decode() for p in pointers if p != ffi.NULL]


def test_counters_have_names_and_an_end() -> None:
    found = names(lib.rudp_counter_name, 256)
    assert len(set(found)) == len(found) > 30
    assert {"calls", "packets_sent", "dropped_TAG", "dropped_KERNEL"} <= set(found)
    assert lib.rudp_counter_name(len(found)) == ffi.NULL
    assert lib.rudp_counter_name(2**32 - 1) == ffi.NULL


def test_what_a_call_leaves_behind() -> None:
    a, b = RawNode(), RawNode()
    peer = a.peer(b)
    assert a.call(peer, 1, b"echo", b"x") == 0
    drive(a, b, until=lambda: answer(b) or a.take(lib.RUDP_DONE))
    assert a.counters()["calls_ok"] == 1
    view = ffi.new("rudp_peer_view *")
    assert lib.rudp_peer_view_wait(a.handle, peer, view) == 0
    assert (view.state, view.path, view.remote.port) == (2, 1, b.address.port)
    assert lib.rudp_peer_view_wait(a.handle, 2**31, view) == lib.RUDP_INVALID
    out = ffi.new("uint8_t[]", RECORD.size * 100)
    count = lib.rudp_trace_wait(a.handle, out, len(out))
    records = [RECORD.unpack_from(ffi.buffer(out), i * RECORD.size) for i in range(count)]
    kinds = [ffi.string(lib.rudp_trace_name(r[4])).decode() for r in records]
    assert {"CALL_OPEN", "CALL_DONE", "PACKET_SENT"} <= set(kinds)
    assert [r[0] for r in records] == sorted(r[0] for r in records)
    assert [r[7] for r in records] == list(range(records[0][7], records[0][7] + count))
    assert lib.rudp_trace_wait(a.handle, out, RECORD.size * 2) == 2
    assert (a.close(), b.close()) == (0, 0)


def test_every_code_and_status_has_a_text() -> None:
    codes = [ffi.string(lib.rudp_code_text(code)) for code in range(0, lib.RUDP_SYSTEM - 1, -1)]
    assert len(set(codes)) == len(codes) == 10
    assert ffi.string(lib.rudp_code_text(1)) == ffi.string(lib.rudp_code_text(-99))
    assert ffi.string(lib.rudp_status_name(2)) == b"DEADLINE"
    assert ffi.string(lib.rudp_status_text(2)) == b"the deadline passed"


def test_keys_are_rotated() -> None:
    """K9, at the surface: both keys are copied at once."""
    a = RawNode({"key": bytes(32)})
    one, two = ffi.new("uint8_t[32]", bytes([1] * 32)), ffi.new("uint8_t[32]", bytes([2] * 32))
    assert lib.rudp_rotate_wait(a.handle, one, two) == 0
    assert lib.rudp_rotate_wait(a.handle, one, ffi.NULL) == 0
    assert a.close() == 0
