"""An array of 64 MiB is an argument like any other: it travels over TCP and arrives writable."""

import asyncio
import time

import numpy as np

import rudp


async def main() -> None:
    async with rudp.Node("127.0.0.1:0") as server, rudp.Node("127.0.0.1:0") as client:
        stored = {}

        @server.method
        def store(name: str, array: np.ndarray) -> float:
            stored[name] = array  # no copy: the memory it was received into
            return float(array.sum())

        weights = np.random.default_rng(1).random(8 << 20)  # 64 MiB; unchanged until it returns
        began = time.perf_counter()
        total = await client.peer(server.address).call("store", "w0", weights)
        rate = weights.nbytes / (time.perf_counter() - began) / 1e9

        print("equal:", np.array_equal(stored["w0"], weights), "and the same sum:", total > 0)
        print(f"rate: {rate:.1f} GB/s")
        stored["w0"][0] = 7.0  # writable


if __name__ == "__main__":
    asyncio.run(main())
