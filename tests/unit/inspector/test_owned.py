# SPDX-License-Identifier: GPL-2.0-only
"""The pages of given owners, in a kernel made by hand."""

from dataclasses import replace

import pytest
from owned_pages import FREE_PAGES, PAGES, OwnedPages
from synthetic import MODERN

from pageinspect.errors import PageInspectError, UsageError
from pageinspect.inspector.fold import fold_here
from pageinspect.inspector.owners import count_owners
from pageinspect.inspector.selection import select
from pageinspect.model.ranges import count
from pageinspect.report.selection import Request


def owned(made: OwnedPages, *texts: str, pfn: tuple[str, ...] = ()) -> int:
    wanted, _ = select(made.inspector(), Request(pfn=pfn, owners=texts), fold_here)
    return count(wanted)


@pytest.mark.parametrize(
    ("texts", "number"),
    [
        (["slab"], 10),
        (["slab:"], 10),
        (["slab:*"], 10),
        (["slab:dentry"], 7),
        (["slab:d*y"], 7),
        (["slab:dentry", "slab:inode"], 10),
        (["slab:dentry", "slab"], 10),
        (["slab:dentry", "file:/small"], 9),
        (["file:/*"], 22),
        (["shmem:/in memory"], 5),
        (["stack:bash[812]"], 4),
        (["stack:*[812]"], 4),
        (["stack:a:b*c[x][7]"], 4),
        (["stack:a:b*[7]"], 4),
        (["vmalloc:nf_tables:nft_chain_add"], 2),
        (["vmalloc:nf_tables:*"], 2),
        (["table:(no process)"], 1),
        (["free"], FREE_PAGES),
        (["free:buddy"], FREE_PAGES),
    ],
)
def test_pages_of_owners(made: OwnedPages, texts: list[str], number: int) -> None:
    assert owned(made, *texts) == number
    report = count_owners(made.inspector(), "name", Request(owners=texts), fold=fold_here)
    # Owners are shares of all pages.
    assert (report.pages, report.coverage.spanned) == (number, PAGES)


def test_only_the_star_is_special(made: OwnedPages) -> None:
    made.file("a?c", 2)
    made.file("abc", 4)
    assert owned(made, "file:/a?c") == 2
    assert owned(made, "file:/a?*") == 2
    assert owned(made, "file:/a*c") == 6
    for text in ("stack:bas[h][812]", "stack:bash[!1]*", "slab:DENTRY", "slab:dentr"):
        with pytest.raises(UsageError):
            owned(made, text)


def test_names_as_they_are_and_as_reports_show_them(made: OwnedPages) -> None:
    made.file("a\x1b[1m", 3)
    for text in ("/a\x1b[1m", r"/a\x1b[1m", "/a\x1b*", r"/a\x1b*"):
        assert owned(made, f"file:{text}") == 3


def test_owners_and_ranges_together(made: OwnedPages) -> None:
    assert owned(made, "file:/big", pfn=("0x10-0x1f",)) == 15
    assert owned(made, "file", pfn=("0x20-0x30",)) == 6
    assert owned(made, "file", pfn=("0x200-0x300",)) == 0


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("slabs:dentry", "kind of owner 'slabs'", "slab"),
        ("", "kind of owner ''", ""),
        (":dentry", "kind of owner ''", ""),
        ("slab:dentri", "'dentri'", "dentry"),
        ("file:/zzz", "'/zzz'", "owners --by name"),
        ("module:ext4", "'ext4'", "owners --by name"),
    ],
)
def test_owners_that_do_not_exist(made: OwnedPages, text: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        owned(made, text)
    assert message in str(caught.value)
    assert hint in str(caught.value.hint)


def test_an_owner_of_other_pages_is_not_among_those_of_a_range(made: OwnedPages) -> None:
    with pytest.raises(UsageError, match="none of the pages"):
        owned(made, "slab:dentry", pfn=("0x200-0x300",))


def test_names_are_not_available_from_vmcoreinfo_alone(made: OwnedPages) -> None:
    made.layout = replace(MODERN, unavailable=("hugetlb", "page_pool"))
    assert owned(made, "file") == 22
    assert owned(made, "free:buddy") == FREE_PAGES
    with pytest.raises(PageInspectError, match="names of file are not available from VMCOREINFO"):
        owned(made, "file:/big")
