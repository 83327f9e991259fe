# SPDX-License-Identifier: GPL-2.0-only
"""Filters drgn's log, which goes to standard error."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def suppress_log(about: str = "") -> Iterator[None]:
    """Suppress drgn's log messages that contain `about`: pageinspect reports these itself."""

    def keep(record: logging.LogRecord) -> bool:
        return about not in record.getMessage()

    logger = logging.getLogger("drgn")
    logger.addFilter(keep)
    try:
        yield
    finally:
        logger.removeFilter(keep)
