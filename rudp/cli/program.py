"""The commands and their options; what they do stands in the modules they call."""

from __future__ import annotations

import asyncio
import math
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import click

import rudp
from rudp.cli import INTERRUPTED
from rudp.cli.session import Access, Failure, one_line


class _Address(click.ParamType[str]):
    """``host:port``; only its form is checked here."""

    name = "host:port"

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        from rudp._resolve import split  # noqa: PLC0415

        try:
            split(value)
        except rudp.AddressError as error:
            self.fail(str(error), param, ctx)
        return str(value)


class _Seconds(click.FloatRange):
    """A time that ends; a range alone would take ``inf`` and ``nan``."""

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        found: float = super().convert(value, param, ctx)
        if not math.isfinite(found):
            self.fail(f"{value} is not a finite number", param, ctx)
        return found


ADDRESS = _Address()
POSITIVE = _Seconds(min=0.0, min_open=True)
FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(rudp.__version__, prog_name="rudp", message="%(prog)s %(version)s")
@click.option("--key", type=FILE, help="File with the cluster's key (or RUDP_KEY_FILE).")
@click.option("--insecure", is_flag=True, help="Use no key, also beyond loopback.")
@click.pass_context
def program(ctx: click.Context, key: Path | None, *, insecure: bool) -> None:
    """RPC between Python programs: serve functions, call them, move files."""
    ctx.obj = Access(key, insecure)


@program.command(short_help="Serve the functions of a module or an object.")
@click.argument("target", required=False, metavar="MODULE[:OBJECT]")
@click.option("--listen", type=ADDRESS, default="127.0.0.1:0", show_default=True)
@click.option("--bench", "echo", is_flag=True, help="Add the method that `rudp bench` calls.")
@click.option("--rotation", is_flag=True, help="Let `rudp rotate` change the key.")
@click.pass_obj
def serve(access: Access, target: str | None, listen: str, *, echo: bool, rotation: bool) -> None:
    """Serve the functions of a module, a class instance or a dictionary.

    OBJECT may also be a function with one parameter named `node`, `async` or not: it registers
    methods itself.
    Prints the address and serves until Ctrl-C, which lets running handlers finish.
    """
    from rudp.cli.serving import serve_target  # noqa: PLC0415

    if target is None and not echo:
        raise click.UsageError("name a MODULE[:OBJECT] to serve, or use --bench")
    _run(serve_target(access, target, listen, echo=echo, rotation=rotation))


@program.command(context_settings={"ignore_unknown_options": True})
@click.argument("address", type=ADDRESS)
@click.argument("method")
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
@click.option("--timeout", type=POSITIVE, default=30.0, show_default=True, help="Seconds.")
@click.option("--raw", is_flag=True, help="Write a text or bytes as they are.")
@click.pass_obj
def call(
    access: Access, address: str, method: str, args: tuple[str, ...], timeout: float, *, raw: bool
) -> None:
    """Call METHOD at ADDRESS and print its result as JSON.

    Each argument is JSON (`3`, `[1, 2]`, `null`, `'"3"'`); what is not JSON is a text.
    """
    from rudp.cli.calling import call_method  # noqa: PLC0415

    _run(call_method(access, address, method, args, timeout=timeout, raw=raw))


@program.command(short_help="Measure round trips to ADDRESS.")
@click.argument("address", type=ADDRESS)
@click.option("-c", "--count", type=click.IntRange(1, 1_000_000), help="Stop after so many.")
@click.option("-i", "--interval", type=POSITIVE, default=1.0, show_default=True, help="Seconds.")
@click.option("--timeout", type=POSITIVE, default=2.0, show_default=True, help="Seconds.")
@click.pass_obj
def ping(access: Access, address: str, count: int | None, interval: float, timeout: float) -> None:
    """Measure round trips to the program at ADDRESS, and show what is known of it."""
    from rudp.cli.calling import ping_peer  # noqa: PLC0415

    _run(ping_peer(access, address, count=count, interval=interval, timeout=timeout))


@program.command(short_help="Send files to a `rudp receive` at ADDRESS.")
@click.argument("files", nargs=-1, type=FILE, metavar="FILE...")
@click.argument("address", type=ADDRESS)
@click.pass_obj
def send(access: Access, files: tuple[Path, ...], address: str) -> None:
    """Send files to a `rudp receive` at ADDRESS; run it again to resume."""
    from rudp.cli.sending import send_files  # noqa: PLC0415

    if not files:
        raise click.UsageError("Missing argument 'FILE...'.")  # after ADDRESS has been looked at
    names = [path.name for path in files]
    if len(set(names)) != len(names):
        raise click.UsageError("two of the files have the same name")
    _run(send_files(access, files, address))


@program.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option("--listen", type=ADDRESS, default="127.0.0.1:0", show_default=True)
@click.option("--overwrite", is_flag=True, help="Replace files that exist with other content.")
@click.pass_obj
def receive(access: Access, directory: Path, listen: str, *, overwrite: bool) -> None:
    """Receive files into DIRECTORY until Ctrl-C."""
    from rudp.cli.receiving import receive_files  # noqa: PLC0415

    _run(receive_files(access, directory, listen, overwrite=overwrite))


@program.command(short_help="Load the node at ADDRESS with calls.")
@click.argument("address", type=ADDRESS)
@click.option("--method", help="Call this method instead of the one of `rudp serve --bench`.")
@click.option("--size", type=click.IntRange(0, 1 << 30), default=64, show_default=True)
@click.option("--outstanding", type=click.IntRange(1, 10_000), default=64, show_default=True)
@click.option("--seconds", type=POSITIVE, default=3.0, show_default=True)
@click.pass_obj
def bench(
    access: Access, address: str, method: str | None, size: int, outstanding: int, seconds: float
) -> None:
    """Load the node at ADDRESS with calls of SIZE bytes and print what it did."""
    from rudp.cli.benching import Load, bench_peer  # noqa: PLC0415

    _run(bench_peer(access, address, Load(method, size, outstanding, seconds)))


@program.command()
@click.argument("file", default="rudp.key", type=click.Path(path_type=Path, dir_okay=False))
def keygen(file: Path) -> None:
    """Write a new cluster key to FILE (rudp.key), readable by you only."""
    from rudp.cli.rotating import new_key  # noqa: PLC0415

    new_key(file)


@program.command(short_help="Give a running cluster the key in NEW_KEY.")
@click.argument("new_key", type=FILE)
@click.argument("addresses", nargs=-1, required=True, type=ADDRESS, metavar="ADDRESS...")
@click.option("--timeout", type=POSITIVE, default=10.0, show_default=True, help="Seconds per step.")
@click.option(
    "--settle",
    type=_Seconds(min=0.0),
    default=30.0,
    show_default=True,
    help="Seconds for calls under the old key to end, before it is forgotten.",
)
@click.pass_obj
def rotate(
    access: Access, new_key: Path, addresses: tuple[str, ...], timeout: float, settle: float
) -> None:
    """Give all nodes of a running cluster the key in NEW_KEY, without a pause.

    --key names the present key; ADDRESS... must be all nodes, which allow it (`--rotation`).
    """
    from rudp.cli.rotating import rotate_cluster  # noqa: PLC0415

    _run(rotate_cluster(access, new_key, addresses, timeout=timeout, settle=settle))


def _run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


def run(arguments: list[str] | None = None) -> int:
    """Carry out one command; returns the exit status."""
    try:
        program.main(arguments, prog_name="rudp", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return 2
    except click.ClickException as error:
        return _fail(error.format_message(), error.exit_code)
    except click.exceptions.Exit as error:
        return error.exit_code
    except (click.Abort, KeyboardInterrupt, asyncio.CancelledError):
        return INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()  # whoever read our output has gone: nothing is left to say
        return 1
    except rudp.ConfigError as error:
        return _fail(one_line(error), 2)
    except (Failure, rudp.RudpError, OSError) as error:
        return _fail(one_line(error), 1)
    return 0


def _fail(text: str, status: int) -> int:
    click.echo(f"rudp: {' '.join(text.split())}", err=True)
    return status
