"""The same work in plaintext and under each cipher, in one run; plaintext is the yardstick.

Bulk stands beside a C loop too that seals with the same library: how fast libcrypto is depends on
who else uses the processor, and it is most of what bulk costs.
"""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.harness import Comparison, Target, rudp_program, yardstick

QUESTION = "What does sealing cost?"
CIPHERS = ("aes-256-gcm", "chacha20-poly1305")
BULK = {"chunk": 4 << 20, "in_flight": 8}


def measure(seconds: float) -> Iterator[Comparison]:
    """Latency, rate and CPU of small calls; rate and CPU of bulk."""

    def alone(cipher: str) -> float:
        shape = {"method": "echo", "cipher": cipher}
        return float(rudp_program("echo", placement="one", seconds=seconds, **shape)["p50_us"])

    def rate(cipher: str) -> float:
        shape = {"method": "echo", "cipher": cipher, "outstanding": 64}
        many = rudp_program("echo", placement="two", seconds=seconds, **shape)
        return float(many["calls_per_second"])

    def bulk(cipher: str) -> tuple[float, float]:
        found = rudp_program("store", placement="two", seconds=seconds, cipher=cipher, **BULK)
        return found["gigabytes_per_second"], found["cpu_seconds_per_gigabyte"]

    plain = alone("none"), rate("none"), *bulk("none")
    kept, enough = Target("at least", 0.75), Target("at least", 2.0, absolute=True)
    for cipher in CIPHERS:
        sealed = alone(cipher), rate(cipher), *bulk(cipher)
        rows = (
            ("one call, p50", "µs", "one", None),
            ("64 outstanding", "/s", "two", kept),
            ("4 MiB, 8 in flight", "GB/s", "two", enough),
            ("bulk's CPU, both sides", "s/GB", "two", None),
        )
        for (what, unit, placement, target), ours, base in zip(rows, sealed, plain, strict=True):
            yield Comparison(
                f"{cipher}: {what}",
                unit,
                "one" if placement == "one" else "two",
                ours,
                base,
                target,
                beside="plain",
            )
        c = yardstick("bulk_tcp", placement="two", seconds=seconds, buffers=8, guard=cipher, **BULK)
        yield Comparison(
            f"{cipher}: the same",
            "GB/s",
            "two",
            sealed[2],
            c["gigabytes_per_second"],
            beside="C that seals too",
        )
