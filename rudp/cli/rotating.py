"""How does a running cluster get another key: ``rudp keygen``, ``rudp rotate``?"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import click

import rudp
from rudp.admin import FORGET, ROTATE_METHOD, STEPS
from rudp.cli.session import Access, Failure, connected, one_line

AGAIN = "the nodes still understand each other: run it again"


def new_key(file: Path) -> None:
    """A new key in a new file."""
    try:
        rudp.write_key(file)
    except FileExistsError as error:
        raise Failure(f"{file} exists: a key that may be in use is not overwritten") from error
    click.echo(f"wrote a new key to {file}")


async def rotate_cluster(
    access: Access, new_file: Path, addresses: Sequence[str], *, timeout: float, settle: float
) -> None:
    """Three steps, each on all nodes before the next; running it again after a failure is safe."""
    old, new = access.load(), rudp.load_key(new_file)
    if old is None:
        raise rudp.ConfigError("rotate needs --key with the present key of the cluster")
    if old == new:
        raise rudp.ConfigError("the new key is the present one")
    try:
        for step in STEPS:
            if step == FORGET:  # it ends what still runs under the old key (K9)
                click.echo(f"waiting {settle:g} s for calls under the old key to end")
                await asyncio.sleep(settle)
            for address in addresses:
                await _step(access, address, step, (old, new), timeout=timeout)
            click.echo(f"{step}: done on {len(addresses)} node{'s'[: len(addresses) > 1]}")
    except asyncio.CancelledError:  # Ctrl-C
        click.echo(f"not finished: {AGAIN}", err=True)
        raise
    click.echo(f"rotated; a node that starts from a key file needs {new_file} from now on")


async def _step(
    access: Access, address: str, step: str, keys: tuple[bytes, bytes], *, timeout: float
) -> None:
    """One step on one node; after a rotation that broke off it may know either key, or both."""
    old, new = keys
    order = (new, old) if step == FORGET else (old, new)
    for key in order:
        try:
            async with connected(dataclasses.replace(access, key=key), address) as peer:
                await peer.call(ROTATE_METHOD, step, old, new, timeout=timeout)
        except rudp.NoSuchMethod as error:
            raise Failure(f"{address} does not allow rotation: serve it with --rotation") from error
        except (rudp.Unreachable, rudp.DeadlineExceeded) as error:
            failure: Exception = error
        except rudp.RudpError as error:
            raise _failed(step, address, error) from error
        else:
            return
    raise _failed(step, address, failure)


def _failed(step: str, address: str, error: Exception) -> Failure:
    text = f"{step} failed at {address}: {one_line(error)}"
    return Failure(f"{text}; {AGAIN}")
