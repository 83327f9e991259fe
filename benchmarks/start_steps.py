# SPDX-License-Identifier: GPL-2.0-only
"""Run in a guest by start.py: prints how long the steps of `trace -- true` take, as JSON.

Each trace is a process of its own, whose functions are timed where they are called. The ways to
start take turns, so that a slower host affects all of them.
"""

import functools
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

COMPILED, KEPT = "compiled", "from the cache"
_WAYS = {COMPILED: ["--no-cache"], KEPT: []}
_OPTIONS = ["--", "true"]
_SOURCE = "/opt/pageinspect"
_CACHE = Path("/run/start-cache")
_PROGRAMS = _CACHE / "programs"

IMPORTS, TOTAL = "Python, its modules and ours", "total"
_STEPS = {
    "pageinspect.target.open.open_target": "the kernel's memory and symbols",
    "pageinspect.layout.build_layout": "types of struct page",
    "pageinspect.trace.compile.load_bcc": "bcc and LLVM",
    "pageinspect.trace.compile.compile_program": "clang",
    "pageinspect.trace.loaded.LoadedProgram._load": "maps and the verifier",
    "pageinspect.trace.loaded.LoadedProgram.attach": "attaching",
    "pageinspect.trace.session.Session.readings": "the command, and 0.2 s after it",
    "pageinspect.cli.trace_output.Output.report": "the report",
}


class _Clock:
    """Adds up the seconds of steps, without those of the steps inside of them."""

    def __init__(self, start: float) -> None:
        self.seconds = dict.fromkeys((IMPORTS, *_STEPS.values()), 0.0)
        self._running = [IMPORTS]
        self._since = start

    def turn(self, step: str | None) -> None:
        """Begin a step, or end the one that runs."""
        now = time.monotonic()
        self.seconds[self._running[-1]] += now - self._since
        self._since = now
        if step is None:
            self._running.pop()
        else:
            self._running.append(step)

    def timed(self, step: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            self.turn(step)
            try:
                return function(*args, **kwargs)
            finally:
                self.turn(None)

        return run

    def timed_readings(self, step: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def run(*args: Any) -> Any:
            readings = function(*args)
            following = self.timed(step, lambda: next(readings, None))
            while (reading := following()) is not None:
                yield reading

        return run


def _trace(start: float, found: Path, words: list[str]) -> None:
    clock = _Clock(start)
    from pageinspect.cli.main import main
    from pageinspect.host.startup import configure_libraries

    configure_libraries()
    for place, step in _STEPS.items():
        owner: Any = None
        module, _, name = place.rpartition(".")
        if module.rpartition(".")[2][0].isupper():
            module, _, of = module.rpartition(".")
            owner = getattr(import_module(module), of)
        else:
            owner = import_module(module)
        time_it = clock.timed_readings if name == "readings" else clock.timed
        setattr(owner, name, time_it(step, getattr(owner, name)))
    status = main(["trace", *words, *_OPTIONS])
    clock.turn(None)
    found.write_text(json.dumps(clock.seconds))
    sys.exit(status)


def _run(way: str) -> dict[str, float]:
    found = Path("/run/start-steps.json")
    environment = {
        **os.environ,
        "PYTHONPATH": f"{_SOURCE}/src:{_SOURCE}/wheels",
        "PAGEINSPECT_CACHE": str(_CACHE),
    }
    start = time.monotonic()
    argv = [sys.executable, __file__, "trace", str(start), str(found), *_WAYS[way]]
    done = subprocess.run(argv, env=environment, capture_output=True, check=False)
    total = time.monotonic() - start
    if done.returncode not in {0, 3}:
        raise SystemExit(done.stderr.decode())
    return {**json.loads(found.read_text()), TOTAL: total}


def _cold(way: str) -> dict[str, float]:
    shutil.rmtree(_CACHE, ignore_errors=True)
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3")
    return _run(way)


def main() -> None:
    """Print the seconds of all steps: {"cold" or "warm": {way: [{step: seconds}]}}."""
    if sys.argv[1] == "trace":
        _trace(float(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
    found: dict[str, dict[str, list[dict[str, float]]]] = {
        state: {way: [] for way in _WAYS} for state in ("cold", "warm")
    }
    # The first run writes bytecode, as an installation has it.
    _run(KEPT)
    for _ in range(int(sys.argv[1])):
        for way in _WAYS:
            found["cold"][way].append(_cold(way))
        for way in _WAYS:
            found["warm"][way].append(_run(way))
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
