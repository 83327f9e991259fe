# SPDX-License-Identifier: GPL-2.0-only
"""The man page, from the parsers: each command, and once the options that several share."""

import argparse
import re
from collections import Counter
from collections.abc import Iterable, Iterator

from parsers import commands, shown

EXIT_STATUSES = {
    "COMPLETE": "The report is complete. check: no violation, and no total differs. contiguity "
    "--for: also if it cannot be had.",
    "ERROR": "An error: one line and a hint on standard error. doctor: walking or tracing this "
    "kernel cannot work. contiguity --for cma: the kernel has no CMA, or no CMA area. "
    "snapshot: a snapshot failed; others may have been taken.",
    "USAGE": "The command line is wrong (an option, a range or a name), or has no command. "
    "contiguity --for offline:N: the machine has no such memory block.",
    "INCOMPLETE": "The report is incomplete: pages could not be read, events were lost, or types "
    "are not available. diff: one side lacks memory that the other has.",
    "FINDING": "check found a violation or a total that differs, audit lost pages, diff a limit "
    "that was exceeded, or trace saw a free that --disallow names, or with --types-at-alloc "
    "an allocation with a type. 4 is returned even if the report is also incomplete.",
    "GUEST_LOST": "vm run and vm dump: the guest was lost (a panic, the end of QEMU, --timeout), "
    "did not boot, or could not be built. Every status but 2 and 125 is that of COMMAND. A shell "
    "reports 127 for a command that the guest lacks, and 128 plus the signal for one that a signal "
    "ended.",
    "HUNG_UP": "Ended by SIGHUP: the terminal was closed.",
    "INTERRUPTED": "Ended by Ctrl-C (SIGINT). summary, owners and processes with -i end with the "
    "status of their readings. trace ends with its report and the report's status at the first "
    "SIGINT, SIGTERM or SIGHUP, and with this kind of status at a second one. vm run: the first "
    "Ctrl-C interrupts COMMAND, a second one ends the guest. snapshot --every finishes its "
    "snapshot and ends with 0, or with 1 or 3 if one failed or is incomplete. snapshot --dask "
    "ends all processes that read cores.",
    "TERMINATED": "Ended by SIGTERM.",
}
ENVIRONMENT = {
    "PAGEINSPECT_CACHE": "The cache folder. Default: pageinspect/ in XDG_CACHE_HOME or ~/.cache.",
    "PAGEINSPECT_DRGN_PLUGIN": "0 disables the plugin of drgn.",
    "PAGEINSPECT_ACCEL": "The default of --accel: auto, kvm or tcg.",
    "PAGEINSPECT_DEBIAN_MIRROR": "The mirror that vm build takes packages from. Default: the one "
    "in apt's configuration.",
    "TMPDIR": "Where temporary copies of some forms of cores are made.",
}
FILES = {
    "/proc/kcore, /proc/kallsyms, /sys/kernel/btf/vmlinux": "Memory, symbols and types of the "
    "running kernel.",
    "~/.cache/pageinspect": "Types and symbols of kernels that were read before, and what vm build "
    "made.",
}
PLAIN = ("options", "positional arguments")
"""Default titles of argparse, which are left out."""
SEE_ALSO = "drgn(1), crash(8), makedumpfile(8)"
EXAMPLES = {
    "Page types of this kernel:": "sudo pageinspect summary",
    "Memory of a dump by use and zone:": "pageinspect summary -c vmcore --by use,zone",
    "Contradictions in a dump, and totals that differ from counters:": "pageinspect check -c "
    "vmcore",
    "One page, with the rule for each field:": "pageinspect page -c vmcore 0x1222 --explain",
    "Frees of pages whose type is still set, every five seconds:": "sudo pageinspect trace -i 5",
}


Option = tuple[str, str]
"""How an option is written, and its help."""
Group = tuple[str, tuple[Option, ...]]
"""A title, and its options."""


def man_page(parser: argparse.ArgumentParser) -> str:
    """Return the page in the man macros."""
    from pageinspect.errors import Exit
    from pageinspect.version import __version__

    groups = {command.prog: [*_groups(command)] for command in commands(parser)}
    counted = Counter(group for found in groups.values() for group in found)
    shared = [group for group, times in counted.items() if times > 1 and group[0] not in PLAIN]
    lines = [f'.TH PAGEINSPECT 1 "" "pageinspect {__version__}" "User Commands"']
    lines += [".SH NAME", _text("pageinspect - page types and uses of a Linux kernel's memory")]
    lines += [".SH SYNOPSIS", ".nf", *map(_text, map(_synopsis, commands(parser))), ".fi"]
    lines += [".SH DESCRIPTION", *_paragraphs(parser.description), ".SH COMMANDS"]
    for command in commands(parser):
        own = [group for group in groups[command.prog] if group not in shared]
        others = [title for title, options in groups[command.prog] if (title, options) in shared]
        lines += [f".SS {_text(command.prog)}", *_paragraphs(command.description)]
        for title, options in own:
            lines += [] if title in PLAIN else [".PP", f".I {_text(title)}:"]
            lines += _entries(options)
        if others:
            lines += [".PP", _text(f"Shared options: {'; '.join(others)}.")]
    lines.append(".SH SHARED OPTIONS")
    for title, options in shared:
        users = [name.partition(" ")[2] for name in groups if (title, options) in groups[name]]
        lines += [f".SS {_text(title)}", _text(f"Of {', '.join(users)}."), *_entries(options)]
    statuses = ((str(int(status)), EXIT_STATUSES[status.name]) for status in Exit)
    lines += [".SH EXIT STATUS", *_entries(statuses)]
    lines += [".SH ENVIRONMENT", *_entries(ENVIRONMENT.items())]
    lines += [".SH FILES", *_entries(FILES.items()), ".SH EXAMPLES"]
    for what, example in EXAMPLES.items():
        lines += [".PP", _text(what), ".PP", ".RS 4", f".B {_text(example)}", ".RE"]
    lines += [".SH SEE ALSO", _text(SEE_ALSO)]
    return "\n".join(lines) + "\n"


def _groups(command: argparse.ArgumentParser) -> Iterator[Group]:
    formatter = command._get_formatter()
    for group in command._action_groups:
        options = tuple(
            (_written(action), formatter._expand_help(action) if action.help else "")
            for action in shown(group._group_actions)
        )
        if options:
            yield group.title or "", options


def _written(action: argparse.Action) -> str:
    if action.nargs == 0:
        return ", ".join(action.option_strings)
    values = action.metavar or f"{{{','.join(action.choices or [action.dest])}}}"
    if action.nargs == "?" and action.option_strings:
        return f"{action.option_strings[-1]}[={values}]"
    values = f"{values}..." if action.nargs in ("*", "...") else values
    return ", ".join(f"{name} {values}" for name in action.option_strings) or str(values)


def _synopsis(command: argparse.ArgumentParser) -> str:
    operands = [f"[{_written(action)}]" for action in command._get_positional_actions()]
    return command.usage or " ".join([command.prog, "[options]", *operands])


def _paragraphs(text: str | None) -> Iterator[str]:
    for paragraph in (text or "").strip().split("\n\n"):
        yield ".PP"
        yield _text(" ".join(paragraph.split()))


def _entries(entries: Iterable[Option]) -> Iterator[str]:
    for term, meaning in entries:
        yield ".TP"
        yield f".B {_text(term)}"
        yield _text(meaning) or "\\&"


def _text(text: str) -> str:
    r"""Return text as roff prints it: `word` in bold, and no character taken for a request."""
    escaped = text.replace("\\", r"\e").replace("-", r"\-").replace("'", r"\(aq")
    guard = r"\&" if text.startswith(".") else ""
    return guard + re.sub("`(.+?)`", r"\\fB\1\\fR", escaped)
