"""Two nodes in one program: one serves a function, the other calls it."""

import asyncio

import rudp


async def main() -> None:
    async with rudp.Node("127.0.0.1:0") as server, rudp.Node("127.0.0.1:0") as client:

        @server.method
        async def add(a: int, b: int) -> int:
            return a + b

        peer = client.peer(server.address)
        print("2 + 3 =", await peer.call("add", 2, 3, timeout=0.5))

        try:
            await peer.call("divide", 1, 0)
        except rudp.CallError as error:
            print("divide failed, and did the handler run?", error.outcome.value)


if __name__ == "__main__":
    asyncio.run(main())
