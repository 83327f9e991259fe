# SPDX-License-Identifier: GPL-2.0-only
r"""The forms of the lines that dump_page() and bad_page() have printed since v4.18, as data.

Each form has a pattern whose named groups are its fields, and the releases that print it. types.py
narrows down the release from the forms of a report, and so finds the page-type scheme.

Every pattern begins with fixed text, and every repetition has an upper bound, so that a match at
one position takes a bounded number of steps.
"""

import re
from dataclasses import dataclass

Release = tuple[int, int]
FIRST: Release = (4, 18)


@dataclass(frozen=True, slots=True)
class Form:
    """One form of one line."""

    line: str
    """Which line of a report: page, head, flags and so on."""
    printed: str
    """The kernel's format string, without the log level and the line feed."""
    pattern: re.Pattern[str]
    since: Release = FIRST
    before: Release | None = None
    """The first release that no longer prints this form; None: the newest release prints it."""
    commit: str = ""
    """The kernel commit that introduced the form; empty if v4.18 has it."""
    evidence: bool = True
    """Whether only these releases print the form, so that it narrows down the release."""

    @property
    def fields(self) -> tuple[str, ...]:
        """Return the names of the fields."""
        return tuple(self.pattern.groupindex)


_PIECES = {
    # "%p" prints "(____ptrval____)" early in boot, and printed "(null)".
    "POINTER": r"(?:(?:0x)?[0-9a-f]{1,16}(?!\w)|\(\w{1,16}\))",
    # "%px" prints an address of the kernel's half.
    "ADDRESS": r"ff[0-9a-f]{14}(?!\w)",
    "WORD": r"[0-9a-f]{16}(?!\w)",
    "HEX": r"0x[0-9a-f]{1,16}(?!\w)",
    "INT": r"-?\d{1,11}(?!\w)",
    # "%ps" adds the module: "xfs_address_space_operations [xfs]".
    "SYMBOL": r"\w{1,128}(?:\x20\[\w{1,64}\])?",
    "NAMES": r"[^()]{0,1024}",
}
_GAP = r"\x20{1,8}"


def _pattern(text: str) -> re.Pattern[str]:
    """Compile a pattern: @NAME is replaced by a piece, and a space matches 1 to 8 spaces."""
    for name, piece in _PIECES.items():
        text = text.replace(f"@{name}", piece)
    return re.compile(text.replace(" ", _GAP))


_COUNTS = "refcount:(?P<refcount>@INT) mapcount:(?P<mapcount>@INT)"
_MAPPING = r"mapping:\x20{0,16}(?P<mapping>@POINTER) index:(?P<index>@HEX)"
_FLAGS = r"(?:(?P<kind>anon|ksm) )?flags: (?P<flags>@HEX)\((?P<names>@NAMES)\)(?P<cma> CMA)?"
_MAPPING_PRINTED = (
    'Since Linux kernel commit 1c6fb1d89e73 ("mm: print more information about mapping in '
    '__dump_page") (in v5.0)'
)
_COMPOUND = (
    'Since Linux kernel commit 6197ab984b41 ("mm: improve dump_page() for compound pages") '
    "(in v5.7), which also prints a hash of mapping"
)
_MAPPING_CHECKED = (
    'Since Linux kernel commit 002ae7057069 ("mm, dump_page: do not crash with invalid mapping '
    'pointer") (in v5.8)'
)
_INODE = (
    'Since Linux kernel commit 9bdaf2cc5eb5 ("mm/debug: print the inode number in dump_page") '
    "(in v5.9)"
)
_DUMP_FOLIO = 'Since Linux kernel commit fae7d834c43c ("mm: add __dump_folio()") (in v6.9)'
_ROBUST = (
    'Since Linux kernel commit 8b3d838139bc ("fs: improve dump_mapping() robustness") (in v6.9, '
    "and in stable releases)"
)
_FLAGS_COMMIT = (
    'Since Linux kernel commit 76a1850e4572 ("mm/debug.c: __dump_page() prints an extra line") '
    "(in v5.4), anon and ksm are in the same line as the flags, and other pages without a mapping "
    'have no flags line. Since Linux kernel commit 5b57b8f22709 ("mm/debug.c: always print flags '
    'in dump_page()") (in v5.6, and in stable releases of v5.4 and v5.5), they have one'
)

_PAGE = (
    Form(
        "page",
        "page:%px refcount:%d mapcount:%d mapping:%p index:%#lx head:%px order:%u "
        "compound_mapcount:%d compound_pincount:%d",
        _pattern(
            rf"page:(?P<page>@POINTER) {_COUNTS} {_MAPPING} head:(?P<head>@POINTER) "
            r"order:(?P<order>\d{1,3}) compound_mapcount:(?P<compound_mapcount>@INT)"
            r"(?: compound_pincount:(?P<compound_pincount>@INT))?"
        ),
        (5, 7),
        (5, 9),
        _COMPOUND,
    ),
    Form(
        "page",
        "page:%p refcount:%d mapcount:%d mapping:%p index:%#lx pfn:%#lx",
        _pattern(rf"page:(?P<page>@POINTER) {_COUNTS} {_MAPPING} pfn:(?P<pfn>@HEX)"),
        (5, 9),
        (6, 9),
        'Since Linux kernel commit 54a75157d979 ("mm/debug: print hashed address of struct page") '
        "(in v5.9)",
    ),
    Form(
        "page",
        "page:%px count:%d mapcount:%d mapping:%px index:%#lx compound_mapcount: %d",
        _pattern(
            rf"page:(?P<page>@ADDRESS) count:(?P<refcount>@INT) mapcount:(?P<mapcount>@INT) "
            rf"{_MAPPING}(?: compound_mapcount:\x20?(?P<compound_mapcount>@INT))?"
        ),
        before=(5, 2),
    ),
    Form(
        "page",
        "page:%px refcount:%d mapcount:%d mapping:%px index:%#lx compound_mapcount: %d",
        _pattern(
            rf"page:(?P<page>@ADDRESS) {_COUNTS} {_MAPPING}"
            r"(?: compound_mapcount:\x20?(?P<compound_mapcount>@INT))?$"
        ),
        (5, 2),
        (5, 9),
        'Since v5.2 ("mm: update references to page _refcount")',
    ),
    Form(
        "page",
        "page:%p refcount:%d mapcount:%d mapping:%p index:%#lx",
        # A line that was cut off after the index.
        _pattern(rf"page:(?P<page>@POINTER) {_COUNTS} {_MAPPING}"),
        (5, 2),
        (6, 9),
        'Since v5.2 ("mm: update references to page _refcount")',
    ),
    Form(
        "page",
        "page: refcount:%d mapcount:%d mapping:%p index:%#lx pfn:%#lx",
        _pattern(rf"page: {_COUNTS} {_MAPPING}(?: pfn:(?P<pfn>@HEX))?"),
        (6, 9),
        commit=_DUMP_FOLIO,
    ),
    Form(
        "poisoned",
        "page:%p is uninitialized and poisoned",
        _pattern(r"page:(?P<page>@POINTER) is uninitialized and poisoned"),
    ),
    Form(
        "mismatch",
        "page does not match folio",
        _pattern(r"page does not match folio"),
        (6, 9),
        commit=_DUMP_FOLIO,
    ),
)

_HEAD = (
    Form(
        "head",
        "head:%p order:%u compound_mapcount:%d subpages_mapcount:%d compound_pincount:%d",
        _pattern(
            r"head:(?P<head>@POINTER) order:(?P<order>\d{1,3}) "
            r"compound_mapcount:(?P<compound_mapcount>@INT) "
            r"subpages_mapcount:(?P<subpages_mapcount>@INT)"
            r"(?: compound_pincount:(?P<compound_pincount>@INT))?"
        ),
        (6, 2),
        (6, 3),
        'Since v6.2 ("mm,thp,rmap: simplify compound page mapcount handling")',
    ),
    Form(
        "head",
        "head:%p order:%u compound_mapcount:%d compound_pincount:%d",
        _pattern(
            r"head:(?P<head>@POINTER) order:(?P<order>\d{1,3}) "
            r"compound_mapcount:(?P<compound_mapcount>@INT)"
            r"(?: compound_pincount:(?P<compound_pincount>@INT))?"
        ),
        # From v5.9 on; also the second half of the line of v5.7 and v5.8 if a mailer wraps it.
        (5, 7),
        (6, 2),
        'Since Linux kernel commit 452b557c9500 ("mm/debug: dump compound page information on a '
        'second line") (in v5.9)',
    ),
    Form(
        "head",
        "head:%p order:%u entire_mapcount:%d nr_pages_mapped:%d pincount:%d",
        _pattern(
            r"head:(?P<head>@POINTER) order:(?P<order>\d{1,3}) "
            r"entire_mapcount:(?P<entire_mapcount>@INT)"
            r"(?: nr_pages_mapped:(?P<nr_pages_mapped>@INT))?(?: pincount:(?P<pincount>@INT))?"
        ),
        (6, 3),
        (6, 9),
        'Since Linux kernel commit eec20426d48b ("mm: convert head_subpages_mapcount() into '
        'folio_nr_pages_mapped()") (in v6.3)',
    ),
    Form(
        "head",
        "head: order:%u entire_mapcount:%d nr_pages_mapped:%d pincount:%d",
        _pattern(
            r"head: order:(?P<order>\d{1,3}) entire_mapcount:(?P<entire_mapcount>@INT)"
            r"(?: nr_pages_mapped:(?P<nr_pages_mapped>@INT))?(?: pincount:(?P<pincount>@INT))?"
        ),
        (6, 9),
        (6, 10),
        _DUMP_FOLIO,
    ),
    Form(
        "head",
        "head: order:%u mapcount:%d entire_mapcount:%d nr_pages_mapped:%d pincount:%d",
        _pattern(
            r"head: order:(?P<order>\d{1,3}) mapcount:(?P<large_mapcount>@INT)"
            r"(?: entire_mapcount:(?P<entire_mapcount>@INT))?"
            r"(?: nr_pages_mapped:(?P<nr_pages_mapped>@INT))?(?: pincount:(?P<pincount>@INT))?"
        ),
        (6, 10),
        commit='Since Linux kernel commit 05c5323b2a34 ("mm: track mapcount of large folios in '
        'single value") (in v6.10)',
    ),
)

_OWNER = (
    Form(
        "memcg",
        "page->mem_cgroup:%px",
        _pattern(r"page->mem_cgroup:(?P<mem_cgroup>@POINTER)"),
        before=(5, 11),
    ),
    Form(
        "memcg",
        "pages's memcg:%lx",
        _pattern(r"pages's memcg:(?P<memcg>[0-9a-f]{1,16})"),
        (5, 11),
        (5, 15),
        "Since Linux kernel commit bcfe06bf2622 (\"mm: memcontrol: Use helpers to read page's "
        'memcg data") (in v5.11)',
    ),
    Form(
        "memcg",
        "memcg:%lx",
        _pattern(r"memcg:(?P<memcg>[0-9a-f]{1,16})"),
        # v5.15 prints this and v5.11 does not; the fields are the same in both.
        (5, 11),
        commit='Since v5.15 at the latest ("mm/debug: improve memcg debugging")',
    ),
    Form(
        "kind",
        "anon ",
        _pattern(r"(?P<kind>anon|ksm)$"),
        (5, 0),
        (5, 4),
        _MAPPING_PRINTED,
        # The first half of "anon flags:", if a mailer wraps the line between the two words.
        evidence=False,
    ),
)

_FILE = (
    Form(
        "file",
        'aops:%ps ino:%lx dentry name(?):"%s"',
        _pattern(
            r"aops:(?P<aops>@SYMBOL) ino:(?P<inode>[0-9a-f]{1,16}) "
            r'dentry name(?:\(\?\))?:"(?P<name>.{0,255})"'
        ),
        (5, 9),
        commit=f"{_INODE}; with a question mark {_ROBUST}",
    ),
    Form(
        "file",
        "aops:%ps ino:%lx",
        _pattern(
            r"aops:(?P<aops>@SYMBOL)(?: ino:(?P<inode>[0-9a-f]{1,16}))?"
            r"(?: (?P<problem>(?:with )?invalid (?:host inode|dentry)))?"
        ),
        (5, 9),
        commit=_INODE,
    ),
    Form(
        "file",
        'mapping->aops:%ps dentry name:"%pd"',
        _pattern(
            r"mapping->a_?ops:(?P<aops>@SYMBOL)"
            r'(?: dentry name:"(?P<name>.{0,255})"| with (?P<problem>invalid mapping->host))?'
        ),
        (5, 8),
        (5, 9),
        _MAPPING_CHECKED,
    ),
    Form(
        "file",
        '%ps name:"%pd"',
        _pattern(r'(?P<aops>@SYMBOL) name:"(?P<name>.{0,255})"'),
        (5, 4),
        (5, 8),
        'Since Linux kernel commit 76a1850e4572 ("mm/debug.c: __dump_page() prints an extra line") '
        "(in v5.4)",
        evidence=False,
    ),
    Form(
        "file",
        'name:"%pd" ',
        _pattern(r'(?:dentry )?name(?:\(\?\))?:"(?P<name>.{0,255})"'),
        (5, 0),
        (5, 4),
        _MAPPING_PRINTED,
        evidence=False,
    ),
    Form(
        "file",
        "%ps ",
        _pattern(r"(?P<aops>\w{0,128}(?:aops|operations)(?: \[\w{1,64}\])?)$"),
        (5, 0),
        (5, 8),
        _MAPPING_PRINTED,
        evidence=False,
    ),
    Form(
        "file",
        "failed to read mapping contents, not a valid kernel address?",
        _pattern(r"failed to read mapping(?P<problem>) contents, not a valid kernel address"),
        (5, 9),
        commit='Since Linux kernel commit e1ab96f8cc71 ("mm/debug: handle page->mapping better in '
        'dump_page") (in v5.9)',
    ),
    Form(
        "file",
        "failed to read mapping->host or a_ops, mapping not a valid kernel address?",
        _pattern(r"failed to read mapping->host(?P<problem>)"),
        (5, 8),
        (5, 9),
        _MAPPING_CHECKED,
    ),
    Form(
        "file",
        "invalid mapping:%px",
        _pattern(r"invalid mapping:(?P<problem>@POINTER)"),
        (5, 17),
        commit=_ROBUST,
        evidence=False,
    ),
)

_WORDS = (
    Form(
        "flags",
        "%sflags: %pGp%s",
        _pattern(_FLAGS.replace(r"\((?P", r"\((?=@NAMES?zone=)(?P", 1)),
        (5, 13),
        commit='Since Linux kernel commit c244297acbe5 ("vsprintf: dump full information of page '
        'flags in pGp") (in v5.13) node and zone follow the names',
    ),
    Form(
        "flags",
        "%sflags: %#lx(%pGp)%s",
        _pattern(_FLAGS),
        # Later releases also print zone=, unless the zone takes no bits of flags.
        commit=_FLAGS_COMMIT,
        evidence=False,
    ),
    Form(
        "type",
        "page_type: %pGt",
        _pattern(r"page_type: (?P<word>0x[0-9a-f]{1,8})\((?P<names>@NAMES)\)"),
        (6, 4),
        (6, 12),
        'Since Linux kernel commit f2421a16f42a ("mm/debug: use %pGt to display page_type in '
        'dump_page()") (in v6.4)',
    ),
    Form(
        "type",
        "page_type: %x(%s)",
        _pattern(r"page_type: (?P<byte>[0-9a-f]{1,2})\((?P<names>\(null\)|@NAMES)\)"),
        (6, 12),
        commit='Since Linux kernel commit 4ffca5a96678 ("mm: support only one page_type per page") '
        "(in v6.12)",
    ),
    Form(
        "raw",
        "raw: %016lx %016lx %016lx %016lx",
        _pattern(r"raw: (?P<words>@WORD(?: @WORD){0,3})"),
    ),
    Form(
        "raw_head",
        "head: %016lx %016lx %016lx %016lx",
        _pattern(r"head: (?P<words>@WORD(?: @WORD){0,3})"),
        (5, 7),
        commit=_COMPOUND,
        evidence=False,
    ),
    Form(
        "reason",
        "page dumped because: %s",
        _pattern(r"page dumped because:\x20{0,8}(?P<reason>.{0,1024})"),
    ),
)

_AROUND = (
    Form(
        "bad_page",
        "BUG: Bad page state in process %s  pfn:%05lx",
        _pattern(
            r"BUG: Bad page state in process (?P<process>.{0,64}?) pfn:(?P<pfn>[0-9a-f]{1,16})"
        ),
    ),
    Form(
        "bad_flags",
        "bad because of flags: %#lx(%pGp)",
        _pattern(r"bad because of flags: (?P<flags>@HEX)\((?P<names>@NAMES)\)"),
        before=(5, 8),
    ),
    Form(
        "tracked",
        "page_owner tracks the page as allocated",
        _pattern(r"page_owner tracks the page as (?P<state>allocated|freed)"),
        (5, 4),
        commit='Since Linux kernel commit 8974558f49a6 ("mm, page_owner, debug_pagealloc: save and '
        'dump freeing stack trace") (in v5.4)',
    ),
    Form(
        "allocated",
        "page last allocated via order %u, migratetype %s, gfp_mask %#x(%pGg), pid %d, tgid %d "
        "(%s), ts %llu, free_ts %llu",
        _pattern(
            r"page (?:last )?allocated via order (?P<order>\d{1,3}), "
            r"migratetype (?P<migratetype>\w{1,32}), gfp_mask (?P<gfp_mask>0x[0-9a-f]{1,8})"
            r"(?:\((?P<gfp>@NAMES)\))?(?:, pid (?P<pid>@INT))?"
            r"(?:, tgid (?P<tgid>@INT) \((?P<command>.{0,64}?)\), ts)?"
        ),
        commit='Before Linux kernel commit 8974558f49a6 ("mm, page_owner, debug_pagealloc: save '
        'and dump freeing stack trace") (in v5.4) without "last"; pid, tgid and times came later',
    ),
    Form(
        "end",
        "Modules linked in:",
        _pattern(r"Modules linked in:"),
    ),
)

FORMS = (*_PAGE, *_HEAD, *_OWNER, *_FILE, *_WORDS, *_AROUND)
"""In the order in which they are tried: of two forms that match a text, the longer one first."""

_BEGINNINGS = (
    r"page(?:->mem_cgroup|_type)?:",
    r"page (?:does|dumped|last|allocated)",
    "page_owner tracks",
    r"(?:(?:anon|ksm)[ ]{1,8})?flags:",
    "(?:anon|ksm)$",
    "head:",
    "raw:",
    "memcg:",
    "pages's memcg:",
    r"aops:",
    r"mapping->a_?ops:",
    "failed to read mapping",
    "invalid mapping:",
    r'(?:dentry[ ]{1,8})?name(?:\(\?\))?:"',
    r"\w{0,128}(?:aops|operations)(?![\w:])",
    "BUG: Bad page",
    "bad because of flags:",
    "Modules linked in:",
)
BEGINNING = re.compile(rf"(?<![\w'-])(?:{'|'.join(_BEGINNINGS)})")
"""Matches where a form may begin in a line."""


def find(text: str, position: int) -> tuple[Form, re.Match[str]] | None:
    """Return the form that matches at a position, and the match; None if no form does."""
    for form in FORMS:
        if match := form.pattern.match(text, position):
            return form, match
    return None
