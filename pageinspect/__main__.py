"""The entry point: parse, run one command, and turn what goes wrong into one line and a hint."""

import os
import signal
import sys

from .commands import build_parser
from .errors import Exit, PageInspectError


def _complain(error: PageInspectError) -> None:
    sys.stderr.write(f"pageinspect: error: {error.message}\n  hint: {error.hint}\n")


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit status; prints errors, raises nothing."""
    args = build_parser().parse_args(argv)
    try:
        status = int(args.run(args))
        sys.stdout.flush()
    except PageInspectError as error:
        _complain(error)
        return int(error.exit_code)
    except BrokenPipeError:
        # The reader left (`| head`): what is still buffered must not raise again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return int(Exit.COMPLETE)
    except KeyboardInterrupt:
        return int(Exit.INTERRUPTED)
    return status


def entry() -> None:
    """Console script: as `python -m pageinspect`."""
    signal.signal(signal.SIGTERM, _terminate)
    sys.exit(main())


def _terminate(signum: int, _frame: object) -> None:
    """Let `finally` clauses end what this process started."""
    sys.exit(128 + signum)


if __name__ == "__main__":
    entry()
