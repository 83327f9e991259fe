# SPDX-License-Identifier: GPL-2.0-only
"""The entry point: parses, runs one command, and prints an error as one line and a hint."""

import sys
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable

ERROR_BEGINS = "pageinspect: error: "
"""How the line of an error begins."""


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit status; prints errors, raises nothing."""
    try:
        return _run(argv)
    except KeyboardInterrupt:
        return 130


def _run(argv: list[str] | None) -> int:
    from .parser import build_parser

    for stream in (sys.stdout, sys.stderr):
        # Escape characters that the encoding of the terminal lacks.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    args: Namespace | None = None

    def parse() -> int:
        nonlocal args
        try:
            args = build_parser().parse_args(argv)
        except SystemExit as end:
            # --help and --version have written their text.
            return end.code if isinstance(end.code, int) else 0
        return 0

    status = reporting(parse)
    if args is None:
        return status
    task = partial(_run_command, args)
    from .targets import source_of

    source = source_of(args)
    options = ("symbols", "btf", "kallsyms", "vmcoreinfo")
    given = [path for option in options if (path := getattr(args, option, None)) is not None]
    if source is not None or given:
        from . import isolation

        task = partial(isolation.explain_errors, task, source, given)
        if source is not None and not getattr(args, "isolates", False):
            again = getattr(args, "interval", None) is not None
            task = partial(
                isolation.run_isolated, partial(reporting, task), source, until_interrupt=again
            )
    return reporting(task)


def _run_command(args: "Namespace") -> int:
    """Run a command, and then the callbacks that it pushed on `args.ends`."""
    from contextlib import ExitStack

    with ExitStack() as args.ends:
        if "core" in args or "before" in args:
            from ..host.startup import configure_libraries

            configure_libraries()
        return int(args.run(args))


def reporting(task: "Callable[[], int]") -> int:
    """Run a task and return its exit status; report its errors on stderr."""
    from ..errors import Exit, PageInspectError

    try:
        status = int(task())
        _flush()
    except PageInspectError as error:
        _say(error.message, error.hint)
        return int(error.exit_code)
    except (KeyboardInterrupt, SystemExit):
        # Unwritten output must not block the exit.
        _discard_stdout()
        raise
    except BrokenPipeError:
        # The reader left (`| head`).
        _discard_stdout()
        return int(Exit.COMPLETE)
    except OSError as error:
        _discard_stdout()
        from ..errors import system_error

        reported = system_error(error)
        _say(reported.message, reported.hint)
        return int(Exit.ERROR)
    return status


def _flush() -> None:
    """Write what is left of the report. Raises PageInspectError, and BrokenPipeError."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        from .output import cannot_write_report

        _discard_stdout()
        raise cannot_write_report(error) from None


def _discard_stdout() -> None:
    from .output import discard_buffer

    discard_buffer(sys.stdout)


def _say(message: str, hint: str) -> None:
    """Write an error; if standard error is closed, the exit status alone reports it."""
    from contextlib import suppress

    from ..units import printable

    with suppress(OSError):
        sys.stderr.write(f"{ERROR_BEGINS}{printable(message)}\n  hint: {printable(hint)}\n")


def entry() -> None:
    """Console script: as `python -m pageinspect`."""
    import signal

    # Ctrl-C ends this process at once, as other signals do; host/processes.py describes the
    # clean-up. Commands that handle Ctrl-C install their own handler.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    _open_standard_streams()
    sys.exit(main())


def _open_standard_streams() -> None:
    """Open /dev/null for standard streams that are closed, so that no file gets their number.

    sys.stdin and sys.stdout stay None, which commands check; stderr is written to everywhere.
    """
    import os

    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)  # noqa: FBT003 - by position alone
    os.close(descriptor)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - for good
