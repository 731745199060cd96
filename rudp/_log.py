"""Where does this package log, and what does it say only once?"""

from __future__ import annotations

import logging

logger = logging.getLogger("rudp")
_said: set[str] = set()


def warn_once(subject: str, message: str) -> None:
    """Log a warning for the first time in this process that ``subject`` comes up."""
    if subject not in _said:
        _said.add(subject)
        logger.warning(message)
