# SPDX-License-Identifier: GPL-2.0-only
"""The report of doctor: what works follows from what is there."""

import io
import json

import pytest
from examined import examined

from pageinspect.doctor.finding import CheckedItem, works
from pageinspect.render import render
from pageinspect.report.doctor import DoctorReport


def text(of: tuple[CheckedItem, ...], form: str = "table") -> str:
    stream = io.StringIO()
    render(DoctorReport("7.3.4-test", of), form, stream)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("missing", "walking", "tracing", "guests"),
    [
        ((), True, True, True),
        (("kcore",), False, False, True),
        (("bcc",), True, False, True),
        (("BPF reads",), True, False, True),
        (("drgn",), False, False, True),
        (("QEMU",), True, True, False),
        (("KVM", "kprobes"), True, True, True),
    ],
)
def test_what_works_follows_from_what_is_there(
    missing: tuple[str, ...], walking: bool, tracing: bool, guests: bool
) -> None:
    found = examined(**dict.fromkeys(missing, "fix it"))
    told = [works(found, what) for what in ("walking", "tracing", "guests")]
    assert told == [walking, tracing, guests]
    assert DoctorReport("", found).well == (walking and tracing)


def test_the_table_gives_a_fix_of_several_items_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    found = examined(kcore="run as root", BTF="run as root", bcc="apt install python3-bpfcc")
    lines = text(found).splitlines()
    assert lines[0] == "Linux 7.3.4-test, this machine"
    assert [line.split()[:2] for line in lines if line.startswith(("kcore ", "drgn "))] == [
        ["kcore", "NO"],
        ["drgn", "yes"],
    ]
    assert lines[-5:] == [
        "Works here: guests.",
        "Does not work here: walking, tracing.",
        "",
        "kcore, BTF: run as root.",
        "bcc: apt install python3-bpfcc.",
    ]
    assert max(map(len, lines)) <= 80


def test_json_has_the_documented_form() -> None:
    report = json.loads(text(examined(bcc="install it"), "json"))
    assert list(report) == ["schema", "kernel", "works", "items"]
    assert report["works"] == {"walking": True, "tracing": False, "guests": True}
    items = {item["name"]: item for item in report["items"]}
    assert items["bcc"] == {
        "name": "bcc",
        "ok": False,
        "found": "what was found",
        "needed_for": ["tracing"],
        "fix": "install it",
    }
    assert items["drgn"]["fix"] is None
