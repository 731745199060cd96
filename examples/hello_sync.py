"""The same for threads: no event loop, plain functions."""

import rudp.sync


def add(a: int, b: int) -> int:
    return a + b


def main() -> None:
    with rudp.sync.Node("127.0.0.1:0") as server, rudp.sync.Node("127.0.0.1:0") as client:
        server.register("add", add)
        peer = client.peer(server.address)
        print("2 + 3 =", peer.call("add", 2, 3, timeout=0.5))

        try:
            peer.call("add", 2, "three")
        except rudp.RemoteError as error:
            print("the handler raised", error.type_name)


if __name__ == "__main__":
    main()
