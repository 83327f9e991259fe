# SPDX-License-Identifier: GPL-2.0-only
"""The command line of vm dump."""

from pageinspect.cli.commands import vm_dump
from pageinspect.vm import crash_dump


def test_every_form_of_a_kdump_can_be_asked_for() -> None:
    assert tuple(crash_dump.FORMS) == vm_dump._FORMS
