"""Which methods let an operator change a running node?

A node has none of them unless its program says so. Whoever may call it may use them: every member
of the cluster, which all hold the same key anyway.
"""

from __future__ import annotations

from typing import Any

from rudp._endpoint import Endpoint
from rudp._errors import ConfigError

ROTATE_METHOD = "rudp.rotate"
LEARN, SWITCH, FORGET = "learn", "switch", "forget"
STEPS = (LEARN, SWITCH, FORGET)
"""Each step is taken on all nodes before the next: at any moment any two nodes share a key."""


def allow_rotation(node: Endpoint[Any]) -> None:
    """Let ``rudp rotate`` change the key of this node while it runs."""

    def rotate(step: str, old: bytes, new: bytes) -> None:
        if step == LEARN:
            node.rotate(old, other_key=new)
        elif step == SWITCH:
            node.rotate(new, other_key=old)
        elif step == FORGET:
            node.rotate(new)
        else:
            raise ConfigError(f"a rotation has the steps {', '.join(STEPS)}, not {step!r}")

    node.register(ROTATE_METHOD, rotate, inline=True)
