"""Where does the cluster key come from: an argument, a file, or the environment?

A key is 32 bytes. A key file holds it as 64 hexadecimal digits and is readable by its owner only,
or by a group as well if it is root's: one that others may read is refused, for then it is no key.
"""

from __future__ import annotations

import os
import secrets
import stat
import string
from pathlib import Path
from typing import Any

from rudp._errors import ConfigError

KEY_SIZE = 32
DIGITS = frozenset(string.hexdigits)
FILE_MOST = 4096  # characters read of a key file
Key = bytes | str | os.PathLike[str]
"""32 bytes, 64 hexadecimal digits, or the path of a key file."""


def generate_key() -> bytes:
    """A new cluster key: 32 random bytes."""
    return secrets.token_bytes(KEY_SIZE)


def write_key(path: str | os.PathLike[str], key: bytes | None = None) -> bytes:
    """Write ``key``, or a new one, to a new file with mode 0600; returns it.

    Raises ``FileExistsError`` rather than overwrite a key that may be in use.
    """
    key = generate_key() if key is None else load_key(key)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(key.hex() + "\n")
    return key


def load_key(key: Key) -> bytes:
    """The 32 bytes behind a key in any of its forms; raises ``ConfigError`` without showing it."""
    if isinstance(key, bytes):
        if len(key) != KEY_SIZE:
            raise ConfigError(f"a cluster key is {KEY_SIZE} bytes, not {len(key)}")
        return key
    if key == "":
        raise ConfigError(f"a cluster key is {2 * KEY_SIZE} hexadecimal digits or a path, not ''")
    if isinstance(key, str) and (found := _from_hex(key)) is not None:
        return found
    if isinstance(key, str) and len(key) > KEY_SIZE and set(key) <= DIGITS:  # a key, mistyped
        raise ConfigError(f"a cluster key is {2 * KEY_SIZE} hexadecimal digits, not {len(key)}")
    path = _path(key)
    try:
        with path.open(encoding="ascii") as file:
            _check_mode(path, os.fstat(file.fileno()))
            text = file.read(FILE_MOST)
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"the key file {str(path)!r} cannot be read: {error}") from error
    found = _from_hex(text)
    if found is None:
        raise ConfigError(f"the key file {str(path)!r} does not hold 64 hexadecimal digits")
    return found


def _path(key: Any) -> Path:
    try:
        return Path(key)
    except TypeError:
        kinds = "bytes, hexadecimal digits or the path of a file"
        raise ConfigError(f"a cluster key is {kinds}, not {type(key).__name__}") from None


def environment_key() -> bytes | None:
    """The key named by ``RUDP_KEY`` (digits) or ``RUDP_KEY_FILE`` (path), None without either."""
    digits, path = os.environ.get("RUDP_KEY"), os.environ.get("RUDP_KEY_FILE")
    if digits:
        found = _from_hex(digits)
        if found is None:
            raise ConfigError("the environment variable RUDP_KEY is not 64 hexadecimal digits")
        return found
    return load_key(Path(path)) if path else None


def _check_mode(path: Path, found: os.stat_result) -> None:
    """Of the file that is open, not of what its name may stand for later."""
    kept = stat.S_IRWXO | stat.S_IWGRP | (stat.S_IRGRP if found.st_uid != 0 else 0)
    if stat.S_ISREG(found.st_mode) and found.st_mode & kept:
        mode = stat.S_IMODE(found.st_mode)
        raise ConfigError(
            f"the key file {str(path)!r} has mode {mode:04o}: others may use it too; chmod 600 it"
        )


def _from_hex(text: str) -> bytes | None:
    try:
        found = bytes.fromhex(text)
    except ValueError:
        return None
    return found if len(found) == KEY_SIZE else None
