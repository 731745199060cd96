"""Ask many nodes at once; each call ends by its own deadline, whatever the others do."""

import asyncio
import contextlib

import rudp

WORKERS = 5


async def main() -> None:
    async with contextlib.AsyncExitStack() as stack:
        workers = [await stack.enter_async_context(rudp.Node()) for _ in range(WORKERS)]
        client = await stack.enter_async_context(rudp.Node())

        for number, worker in enumerate(workers):

            async def square(x: int, pause: float = 0.1 * number) -> int:
                await asyncio.sleep(pause)
                return x * x

            worker.register("square", square)

        peers = [client.peer(worker.address) for worker in workers]
        calls = [peer.call("square", n, timeout=0.25) for n, peer in enumerate(peers)]
        results = await asyncio.gather(*calls, return_exceptions=True)

        for peer, result in zip(peers, results, strict=True):
            late = isinstance(result, rudp.DeadlineExceeded)
            print(peer.address, "was too late" if late else result)


if __name__ == "__main__":
    asyncio.run(main())
