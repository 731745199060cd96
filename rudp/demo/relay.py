"""What stands between the nodes and makes the faults: ``python -m rudp.demo.relay PARENT``.

Reads commands from its standard input: the links first, then how much to drop and cut.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from rudp.demo.datagrams import Datagrams
from rudp.demo.links import from_json
from rudp.demo.speak import die_with_parent, report
from rudp.demo.streams import Streams

TICK = 0.25  # seconds between reports


def _forever(work: Callable[[], None]) -> None:
    """A relay that half works would make the demo lie: a failure ends the process."""
    try:
        work()
    except BaseException as error:  # noqa: BLE001  whatever it is, the parent is told
        report(event="failed", text=f"the relay broke: {error!r}")
        os._exit(1)


def _tick(datagrams: Datagrams, streams: Streams) -> None:
    while True:
        time.sleep(TICK)
        report(
            event="tick",
            forwarded=datagrams.forwarded,
            dropped=datagrams.dropped,
            cuts=streams.cuts,
            connections=streams.opened,
            carried=streams.carried,
        )


def main() -> None:
    """Run until the parent closes our standard input."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    die_with_parent(int(sys.argv[1]))
    first: dict[str, Any] = json.loads(sys.stdin.readline())
    links = [from_json(fields) for fields in first["links"]]
    datagrams, streams = Datagrams(links, first["seed"]), Streams(links, first["seed"] + 1)

    def ticks() -> None:
        _tick(datagrams, streams)

    for work in (datagrams.run, streams.run, ticks):
        threading.Thread(target=_forever, args=(work,), daemon=True).start()
    report(event="ready")
    for line in sys.stdin:
        command = json.loads(line)
        datagrams.drop = command["drop"]
        streams.life = command["life"]
        report(event="done", phase="faults")
    os._exit(0)  # its threads never end by themselves


if __name__ == "__main__":
    main()
