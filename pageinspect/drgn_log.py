"""drgn's log, which goes to standard error."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet(about: str = "") -> Iterator[None]:
    """Keep drgn from logging what is said here in a line of our own: what contains `about`."""

    def keep(record: logging.LogRecord) -> bool:
        return about not in record.getMessage()

    logger = logging.getLogger("drgn")
    logger.addFilter(keep)
    try:
        yield
    finally:
        logger.removeFilter(keep)


@contextmanager
def hearing() -> Iterator[list[str]]:
    """Give what drgn logs meanwhile, all of it, instead of its going to standard error."""
    logger, heard = logging.getLogger("drgn"), _Heard()
    level, propagate = logger.level, logger.propagate
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logger.addHandler(heard)
    try:
        yield heard.messages
    finally:
        logger.removeHandler(heard)
        logger.propagate = propagate
        logger.setLevel(level)


class _Heard(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())
