# SPDX-License-Identifier: GPL-2.0-only
"""Damages a core in many ways, and sees that every command says so in a line or reads on.

    python tests/fuzz/fuzz.py CORE [--count N] [--seed S] [--only I] [--verbose]

CORE is an ELF core of a small guest; it is damaged in its own form, in the kdump format and
flattened. Damage number I of seed S is always the same. Prints what came out, and each damage that
was not taken well, with the options that repeat it; exits with 1 when there is one.
"""

import argparse
import importlib
import json
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from forms import HEADERS, Form, make_forms

from pageinspect.cli.main import main
from pageinspect.host import progress

DEADLINE_S = 120
"""Seconds that one command may take; it takes half of one."""

COMMANDS = (
    ["summary", "--by", "use", "--format", "json"],
    ["list", "--format", "json"],
    ["owners", "--format", "json"],
    ["audit", "--format", "json"],
    ["check", "--format", "json"],
    ["contiguity", "--format", "json"],
    ["types", "--format", "json"],
    ["processes", "--format", "json"],
    ["list", "--use", "unreadable", "--each", "--format", "json"],
    ["page", "0x1000", "0", "phys:0x2000000", "--explain", "--format", "json"],
    ["export", "--kpageflags", "/dev/null", "--kpagecount", "/dev/zero"],
)
NOTE = re.compile(r"pageinspect: (?!error: )|the code of stable_page_flags|\d+ struct page")
_UNDECIDED = "which pages the core has cannot be found"
ALLOWED = frozenset((0, 1, 3, 4))
EDGES = [2**n + d for n in (31, 32, 40, 48, 63) for d in (-1, 0)]
ABSURD = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, *EDGES)

Damage = tuple[str, list[tuple[int, bytes]], int | None]
"""What it is in words, (offset, bytes) to write, and the length to cut the file to."""


def cut_off(rng: random.Random, form: Form) -> Damage:
    size = len(form.data)
    at = rng.randrange(size) if rng.random() < 0.5 else int(size ** rng.random())
    return f"cut off at {at}", [], at


def absurd_header(rng: random.Random, form: Form) -> Damage:
    writes = []
    for _ in range(rng.choice((1, 1, 2, 4))):
        width = rng.choice((1, 2, 4, 8))
        # Most fields are in the first bytes of a header, which begin on blocks.
        block = rng.choice((0, 0, 0, 4096, 8192))
        offset = block + rng.choice((rng.randrange(512), rng.randrange(4096))) // width * width
        value = rng.choice((*ABSURD, rng.getrandbits(64))) & ((1 << 8 * width) - 1)
        writes.append((offset, value.to_bytes(width, rng.choice(("little", "little", "big")))))
    return f"header {[(o, d.hex()) for o, d in writes]}", writes, None


def _flips(rng: random.Random, form: Form, places: list[int]) -> list[tuple[int, bytes]]:
    return [(at, bytes((form.data[at] ^ 1 << rng.randrange(8),))) for at in places]


def flipped_header(rng: random.Random, form: Form) -> Damage:
    places = [rng.randrange(HEADERS) for _ in range(rng.choice((1, 4, 32)))]
    return f"bits flipped at {places}", _flips(rng, form, places), None


def flipped_anywhere(rng: random.Random, form: Form) -> Damage:
    places = [rng.randrange(len(form.data)) for _ in range(rng.choice((1, 64, 4096)))]
    return f"{len(places)} bits flipped anywhere", _flips(rng, form, places), None


def flipped_where_it_matters(rng: random.Random, form: Form) -> Damage:
    chosen = [rng.choice(form.pages) for _ in range(rng.choice((1, 2, 16)))]
    places = [o + rng.randrange(n) for o, n in chosen for _ in range(rng.choice((1, 8, 64)))]
    return f"bits flipped in the pages at {sorted(chosen)}", _flips(rng, form, places), None


def overwritten_where_it_matters(rng: random.Random, form: Form) -> Damage:
    offset, length = rng.choice(form.pages)
    fill = rng.choice((bytes(length), b"\xff" * length, rng.randbytes(length)))
    return f"page at {offset} overwritten with {fill[:4].hex()}…", [(offset, fill)], None


def lost_objects(rng: random.Random, form: Form) -> Damage:
    """Overwrite pages of the kernel's objects that follow each other, as a missing segment does."""
    count = int(512 ** rng.random())
    first = rng.randrange(len(form.objects))
    fill = rng.choice((b"\0", b"\0", b"\xff"))
    writes = [(offset, fill * length) for offset, length in form.objects[first : first + count]]
    return f"{len(writes)} pages of objects from {first} on filled with {fill.hex()}", writes, None


DAMAGES: tuple[Callable[[random.Random, Form], Damage], ...] = (
    cut_off,
    cut_off,
    absurd_header,
    absurd_header,
    flipped_header,
    flipped_anywhere,
    flipped_where_it_matters,
    overwritten_where_it_matters,
    lost_objects,
    lost_objects,
)


@dataclass(frozen=True, slots=True)
class Outcome:
    status: int
    stdout: bytes
    stderr: str

    def complaint(self) -> str | None:
        """Return what is wrong with how the damage was taken."""
        lines = self.stderr.splitlines()
        if self.status not in ALLOWED and not self.lacks_page():
            return f"exit status {self.status}"
        if "Traceback" in self.stderr:
            return "a traceback"
        if self.status in (1, 2) or _UNDECIDED in self.stderr:
            said = [line for line in lines if not NOTE.match(line)]
            if len(said) != 2 or not said[0].startswith("pageinspect: error: "):
                return "not one line and a hint"
            return None if said[1].startswith("  hint: ") else "no hint"
        return self.report_complaint() if self.stdout else self.export_complaint()

    def export_complaint(self) -> str | None:
        """Return the same of export, which says how many struct pages lack."""
        told = "could not be read: KPF_NOPAGE" in self.stderr
        return None if (self.status == 3) == told else f"exit status {self.status} of export"

    def report_complaint(self) -> str | None:
        """Return the same of a report."""
        report = json.loads(self.stdout)
        if "causes" in report:
            return self.audit_complaint(report["total"])
        unreadable = report.get("coverage", {}).get("unreadable", 0)
        symbols = report["kernel"]["symbols"]
        notes = report["kernel"].get("notes", [])
        cut_off = any("is cut off" in note or "is incomplete" in note for note in notes)
        missing = report.get("coverage", {}).get("missing")
        incomplete = (
            bool(unreadable or missing)
            or symbols == "vmcoreinfo"
            or (cut_off and "coverage" in report)
        )
        if self.status != 4 and (self.status == 3) != incomplete:
            return f"exit status {self.status} with {unreadable} unreadable, types from {symbols}"
        return None

    def audit_complaint(self, total: dict[str, int]) -> str | None:
        """Return the same of an audit, which is about what the file has and not what was read."""
        expected = (4,) if total["lost"] else (3,) if total["undecided"] else (0, 3)
        return None if self.status in expected else f"exit status {self.status} with {total}"

    def lacks_page(self) -> bool:
        """Whether the pfn that was asked for is none of the damaged kernel."""
        return self.status == 2 and "struct page" in self.stderr

    def kind(self) -> str:
        for word in ("crash", "no progress", "MiB of memory", "made sense of", "was killed"):
            if self.status == 1 and word in self.stderr:
                return f"exit 1, {word}"
        return f"exit {self.status}"


def run(command: list[str], core: Path, work: Path) -> Outcome:
    """Run a command in this process, whose imports are done, but for what the guard forks."""
    said, wrote = work / "stderr", work / "stdout"
    keep = [os.dup(1), os.dup(2)]
    for number, path in ((1, wrote), (2, said)):
        with path.open("wb") as stream:
            os.dup2(stream.fileno(), number)
    signal.alarm(DEADLINE_S)
    try:
        status = main([*command, "-c", str(core)])
    except TimeoutError:
        status = -signal.SIGALRM
    except SystemExit as end:
        status = int(end.code or 0)
    finally:
        signal.alarm(0)
        for number, kept in zip((1, 2), keep, strict=True):
            os.dup2(kept, number)
            os.close(kept)
    return Outcome(status, wrote.read_bytes(), said.read_text(errors="replace"))


def late(_signum: int, _frame: object) -> NoReturn:
    raise TimeoutError


class Victim:
    """A file of one form that is damaged and put right again."""

    def __init__(self, form: Form, path: Path) -> None:
        self.form = form
        self.path = path
        path.write_bytes(form.data)

    def damage(self, writes: list[tuple[int, bytes]], length: int | None) -> None:
        with self.path.open("r+b") as file:
            for offset, data in writes:
                file.seek(offset)
                file.write(data)
            if length is not None:
                file.truncate(length)

    def restore(self, writes: list[tuple[int, bytes]], length: int | None) -> None:
        data = self.form.data
        with self.path.open("r+b") as file:
            for offset, written in writes:
                file.seek(offset)
                file.write(data[offset : offset + len(written)])
            if length is not None:
                file.seek(length)
                file.write(memoryview(data)[length:])


def fuzz(arguments: argparse.Namespace, work: Path) -> int:
    victims = [Victim(form, work / form.name) for form in make_forms(arguments.core, work)]
    outcomes: dict[str, list[int]] = {}
    bad, slowest = 0, 0.0
    numbers = range(arguments.count) if arguments.only is None else [arguments.only]
    for number in numbers:
        rng = random.Random(f"{arguments.seed}:{number}")  # noqa: S311 - to be repeated
        victim, command = rng.choice(victims), rng.choice(COMMANDS)
        what, writes, length = rng.choice(DAMAGES)(rng, victim.form)
        victim.damage(writes, length)
        begin = time.monotonic()
        outcome = run(command, victim.path, work)
        took = time.monotonic() - begin
        victim.restore(writes, length)
        slowest = max(slowest, took)
        outcomes.setdefault(outcome.kind(), []).append(number)
        complaint = outcome.complaint()
        bad += complaint is not None
        if complaint or arguments.verbose:
            sys.stdout.write(
                f"--seed {arguments.seed} --only {number}: {complaint or 'well taken'}: "
                f"{command[0]} of {victim.form.name}, {what}; {outcome.kind()} after {took:.1f} s\n"
            )
            sys.stdout.write("".join(f"    {line}\n" for line in outcome.stderr.splitlines()[-12:]))
    most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10
    sys.stdout.write(f"seed {arguments.seed}: {len(numbers)} damages, {bad} taken badly\n")
    for kind, which in sorted(outcomes.items()):
        few = f" (--only {', '.join(map(str, which))})" if len(which) < 5 else ""
        sys.stdout.write(f"  {kind}: {len(which)}{few}\n")
    sys.stdout.write(f"  slowest {slowest:.1f} s, most memory {most} MiB\n")
    return int(bad > 0)


def roomy(core: Path) -> str | None:
    """Return the folder in memory, where it has room: what is cut off is written anew each time."""
    shared = Path("/dev/shm")  # noqa: S108 - only where in it is said by tempfile
    if shared.is_dir() and shutil.disk_usage(shared).free > 4 * core.stat().st_size:
        return str(shared)
    return None


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("core", type=Path)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, help="the damage of this number alone")
    parser.add_argument("--verbose", action="store_true", help="print what was taken well, too")
    return parser.parse_args()


if __name__ == "__main__":
    # The limit is real, but thirty of them are not to take half an hour.
    progress.STALL_TIMEOUT_S = 10
    # Once, rather than in every child.
    for name in (
        "analysis.counter_check",
        "render",
        *(f"report.{c}" for c in ("check", "listing", "summary")),
    ):
        importlib.import_module(f"pageinspect.{name}")
    signal.signal(signal.SIGALRM, late)
    given = parse()
    with tempfile.TemporaryDirectory(prefix="pageinspect-fuzz-", dir=roomy(given.core)) as folder:
        sys.exit(fuzz(given, Path(folder)))
