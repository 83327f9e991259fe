"""The entry point: parse, run one command, and turn what goes wrong into one line and a hint."""

import sys
from functools import partial

TYPE_CHECKING = False  # as in commands/: --help is to import little
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit status; prints errors, raises nothing."""
    try:
        return _run(argv)
    except KeyboardInterrupt:
        from .signals import settled

        settled()
        return 130


def _run(argv: list[str] | None) -> int:
    from .commands import build_parser

    for stream in (sys.stdout, sys.stderr):
        # A terminal that knows no more than ASCII gets escapes, not an error.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    args = build_parser().parse_args(argv)
    task = partial(_run_command, args)
    source = getattr(args, "core", None) or getattr(args, "qemu", None)
    if source is not None:
        from . import guard

        reading = partial(guard.explained, task, source)
        task = partial(guard.apart, partial(_reporting, reading), source)
    return _reporting(task)


def _run_command(args: "Namespace") -> int:
    """Run a command, and then what it left to be done at its end in `args.ends`."""
    from contextlib import ExitStack

    from .signals import raise_lost

    with ExitStack() as args.ends:
        try:
            if hasattr(args, "core"):
                from .libraries import start_small

                start_small()
            return int(args.run(args))
        except Exception:
            raise_lost()
            raise


def _reporting(task: "Callable[[], int]") -> int:
    """Return the status of a task, with a report of what it raises on stderr."""
    from .commands.output import forget
    from .errors import Exit, PageInspectError
    from .units import printable

    try:
        status = int(task())
        if sys.stdout is not None:
            sys.stdout.flush()
    except PageInspectError as error:
        message, hint = printable(error.message), printable(error.hint)
        sys.stderr.write(f"pageinspect: error: {message}\n  hint: {hint}\n")
        return int(error.exit_code)
    except (KeyboardInterrupt, SystemExit):
        # One who does not read does not hold up the end.
        forget(sys.stdout)
        raise
    except BrokenPipeError:
        # The reader left (`| head`).
        forget(sys.stdout)
        return int(Exit.COMPLETE)
    except OSError as error:
        forget(sys.stdout)
        sys.stderr.write(
            f"pageinspect: error: cannot write the report: {error.strerror}\n"
            "  hint: is the disk full? -o FILE writes it whole or not at all\n"
        )
        return int(Exit.ERROR)
    return status


def entry() -> None:
    """Console script: as `python -m pageinspect`."""
    from .signals import end_by_signals, no_more

    status = 130
    try:
        try:
            end_by_signals()
            status = main()
        finally:
            no_more()
    except KeyboardInterrupt:
        # A second one, while the first had its effect.
        no_more()
    sys.exit(status)


if __name__ == "__main__":
    entry()
