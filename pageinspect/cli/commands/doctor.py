# SPDX-License-Identifier: GPL-2.0-only
"""Check what this machine provides, and how to fix what is missing.

Everything is tried, not guessed: a page of /proc/kcore is read, BPF programs are loaded and closed,
bcc is loaded, a guest is started under KVM (once for each boot of the machine). Nothing is attached
to this kernel, and nothing in it is changed. Ends with status 1 when walking or tracing this kernel
cannot work.
"""

import argparse
import os

from ..options import add_output_arguments, write_report
from ..output import check_output


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    add_output_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Write a DoctorReport."""
    from ...doctor.items import examine
    from ...errors import Exit
    from ...report.doctor import DoctorReport

    check_output(args.output, args.mode)
    report = DoctorReport(os.uname().release, examine())
    write_report(args, report)
    return Exit.COMPLETE if report.well else Exit.ERROR
