# SPDX-License-Identifier: GPL-2.0-only
"""Ends a function at a system call, as if the process had been killed."""

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

CALLS = ("link", "rename", "unlink", "rmdir", "mkdir", "fsync")
"""Calls that change a file system."""


class KilledError(BaseException):
    """No handler of errors catches it."""


def killed_at_each_call(make: Callable[[], Any], work: Callable[[Any], object]) -> Iterator[Any]:
    """Yield what `make` returned, after `work` on it ended before its first call, its second, ….

    The last one is after all of it.
    """
    for n in range(10_000):
        made = make()
        left = n

        def wrapped(call: Callable[..., Any]) -> Callable[..., Any]:
            def counted(*args: Any, **options: Any) -> Any:
                nonlocal left
                if left == 0:
                    raise KilledError
                left -= 1
                return call(*args, **options)

            return counted

        with pytest.MonkeyPatch.context() as patch:
            for name in CALLS:
                patch.setattr(os, name, wrapped(getattr(os, name)))
            try:
                work(made)
            except KilledError:
                ended = False
            else:
                ended = True
        yield made
        if ended:
            return
