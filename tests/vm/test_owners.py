# SPDX-License-Identifier: GPL-2.0-only
"""Who owns the pages of a guest, against what its own kernel says of the same moment.

The dump and the kernel's files are of one paused guest of each kernel (support/owned_guest.py), so
counts are compared exactly; only what the kernel itself counts in batches has a tolerance.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
from owned_guest import BALLOON, CRASHKERNEL, Owned, pageinspect

from pageinspect.model.kpageflags import Kpf
from pageinspect.vm.guest import Guest

# The oldest and the newest kernel stand for what is between them.
pytestmark = pytest.mark.kernels("newest", "6.1")

BY = ("kind", "name", "cache", "file", "cgroup", "caller", "task", "module")
VMALLOC = ("vmalloc", "stack", "module", "bpf")
"""Kinds whose pages add up to the kernel's vmalloc counter."""
USER = ("anon", "file", "shmem")
HUGE_PAGES = 512
SECTION, SECTION_BYTES = 32768, 128 << 20
PER_LIST = 31 * 2
"""Pages that two CPUs may have on their lists, which are added to an LRU list together."""
BATCH = 64 * 2
"""Pages that two CPUs may count before a cgroup's memory.stat shows them."""
MOST_UNKNOWN = {"newest": 0.0015}
"""The largest share of unknown pages in an idle guest; 0.0012 of any other kernel."""


def _lines(owned: Owned, name: str) -> list[str]:
    return owned.text(name).splitlines()


def areas(owned: Owned) -> Iterator[tuple[str, int]]:
    """Yield caller and pages of each line of /proc/vmallocinfo that has pages."""
    line = re.compile(r"\S+\s+\d+ (\S+)\+0x\w+/0x\w+ (?:\[(\w+)\] )?.*\bpages=(\d+)")
    for text in owned.text("vmallocinfo").splitlines():
        if "pages=" in text:
            match = line.match(text)
            assert match, text
            yield f"{match[1]} [{match[2]}]" if match[2] else match[1], int(match[3])


def spanned_by_iomem(owned: Owned) -> int:
    """Return the number of pfns that have a struct page: those of all sections with memory."""
    ranges = re.findall(r"^(\w+)-(\w+) : System RAM", owned.text("iomem"), re.MULTILINE)
    sections: set[int] = set()
    for start, end in ranges:
        sections |= set(range(int(start, 16) // SECTION_BYTES, int(end, 16) // SECTION_BYTES + 1))
    return len(sections) * SECTION


@pytest.mark.parametrize("by", BY)
def test_every_page_has_one_owner(owned: Owned, by: str) -> None:
    answer = owned.said_by("owners", "--by", by)
    assert answer["coverage"].get("missing", []) == []
    assert answer["coverage"]["unreadable"] == 0
    spanned = answer["coverage"]["spanned"]
    assert spanned == spanned_by_iomem(owned)
    assert sum(row["pages"] for row in answer["rows"]) == answer["total"]["pages"] == spanned
    assert answer["total"]["bytes"] == spanned << 12
    for row in answer["rows"]:
        # Slabs belong to cgroups object by object.
        in_parts = by == "cgroup" and row["kind"] in {"slab", None}
        assert row["bytes"] == row["pages"] << 12 or in_parts
    assert sum(row["bytes"] for row in answer["rows"]) == spanned << 12


def test_what_is_left_out_is_one_row(owned: Owned) -> None:
    few, every = (owned.said_by("owners", "--by", "name", "--top", top) for top in (3, 0))
    assert few["total"] == every["total"]
    assert few["rows"][:3] == every["rows"][:3]
    assert len(every["rows"]) > 500


def test_the_counters_agree(owned: Owned) -> None:
    checks = {check["name"]: check for check in owned.said_by("owners")["counters"]}
    for check in checks.values():
        assert check["verdict"] in {"verified", "explained"}, check
        assert check["verdict"] == "verified" or check["why"]
    for name in ("vmalloc", "stack", "percpu"):
        assert checks[name]["counted"] == checks[name]["kernel"], checks[name]


def test_vmalloc_is_all_that_the_kernel_counts(owned: Owned) -> None:
    counted = owned.meminfo["VmallocUsed"]
    assert sum(pages for _, pages in areas(owned)) == counted
    assert sum(owned.kinds[kind] for kind in VMALLOC) == counted
    if "nr_vmalloc" in owned.vmstat:
        assert owned.vmstat["nr_vmalloc"] == counted


def test_callers_are_those_of_vmallocinfo(owned: Owned) -> None:
    expected: Counter[str] = Counter()
    for caller, pages in areas(owned):
        expected[caller] += pages
    assert any("[zram]" in caller for caller in expected)
    assert owned.by("caller") == expected


def test_stacks_of_tasks(owned: Owned) -> None:
    stacks = owned.by("task", "stack")
    cached = sum(pages for name, pages in stacks.items() if "cached" in name)
    # The counter has neither those that are cached for new threads nor the one in the image.
    assert sum(stacks.values()) - cached == owned.meminfo["KernelStack"]
    statuses = owned.of_processes("status")
    threads = {pid: int(re.findall(r"Threads:\s+(\d+)", text)[0]) for pid, text in statuses.items()}
    found: Counter[int] = Counter()
    for name in stacks:
        match = re.search(r"\[(\d+)\]$", name)
        if match and int(match[1]) in statuses:
            found[int(match[1])] += 1
    assert found == Counter(dict.fromkeys(statuses, 1))
    assert max(threads.values()) > 12
    per_stack = owned.meminfo["KernelStack"] // (sum(threads.values()) + 1)
    assert per_stack == 4
    assert cached % per_stack == 0


def test_percpu(owned: Owned) -> None:
    assert owned.kinds["percpu"] == owned.meminfo["Percpu"]


def test_struct_pages(owned: Owned) -> None:
    spanned = spanned_by_iomem(owned)
    counted = [
        owned.vmstat[name]
        for name in ("nr_memmap_boot_pages", "nr_memmap_pages")
        if name in owned.vmstat
    ]
    assert owned.kinds["memmap"] == -(-spanned // SECTION) * HUGE_PAGES
    if counted:
        assert owned.kinds["memmap"] == sum(counted)


def test_page_tables(owned: Owned) -> None:
    tables = owned.by("name", "table")
    assert sum(tables.values()) >= owned.vmstat["nr_page_table_pages"]
    # VmPTE leaves out the first level, which has one page or, with isolation, two.
    for pid, text in owned.of_processes("status").items():
        comm = re.findall(r"Name:\s+(.*)", text)[0]
        for kilobytes in re.findall(r"VmPTE:\s+(\d+) kB", text):
            rows = [pages for name, pages in tables.items() if name.startswith(f"{comm}[{pid}]")]
            if pid == owned.witness["pids"].get("mm second"):
                assert rows == []
                continue
            (pages,) = rows
            assert pages - int(kilobytes) // 4 in {1, 2}, (pid, comm)


def test_huge_pages(owned: Owned) -> None:
    found, made = owned.by("name", "hugetlb"), owned.witness["hugetlb"]
    assert sum(found.values()) == owned.meminfo["HugePages_Total"] * HUGE_PAGES
    assert owned.meminfo["HugePages_Total"] == made["total"]

    def of(word: str) -> int:
        return sum(pages for name, pages in found.items() if word in name) // HUGE_PAGES

    assert of("free") + of("reserved") == owned.meminfo["HugePages_Free"]
    assert of("reserved") == owned.meminfo["HugePages_Rsvd"] == made["reserved"]
    assert of("/mnt/huge/file") == made["file"]
    assert of("memfd:huge") == made["memfd"]
    assert all("2 MiB" in name or "2 M" in name for name in found)


def test_slab_caches_are_those_of_slabinfo(owned: Owned) -> None:
    expected: Counter[str] = Counter()
    for words in map(str.split, _lines(owned, "slabinfo")[2:]):
        pages_of_a_slab, slabs = int(words[5]), int(words[words.index("slabdata") + 2])
        if slabs:
            expected[words[0]] += pages_of_a_slab * slabs
    assert len(expected) > 80
    assert owned.by("cache", "slab") == expected


def test_zram_and_page_pool(owned: Owned) -> None:
    pools = owned.by("name", "zsmalloc")
    for device in ("zram0", "zram1"):
        used = int(owned.witness["texts"][f"/sys/block/{device}/mm_stat"].split()[2])
        assert used > 0
        assert pools[device] == used >> 12
    assert set(pools) == {"zram0", "zram1"}
    assert owned.kinds["page_pool"] == owned.witness["uses"]["page_pool"] > 0


def test_memory_that_is_not_the_kernels(owned: Owned) -> None:
    assert owned.kinds["offline"] == BALLOON >> 12
    assert owned.kinds["crashkernel"] == CRASHKERNEL >> 12
    ranges = re.findall(r"(\w+)-(\w+) : Kernel (\w+)", owned.text("iomem"))
    sizes = {name: -(-(int(end, 16) + 1 - int(start, 16)) >> 12) for start, end, name in ranges}
    image = owned.by("name", "kernel")
    for part in ("code", "rodata"):
        # The image's parts are in huge pages, of which the kernel frees what is left at their end.
        assert sizes[part] - HUGE_PAGES < image[part] <= sizes[part]


def test_modules_are_those_of_proc_modules(owned: Owned) -> None:
    sizes = {words[0]: int(words[1]) for words in map(str.split, _lines(owned, "modules"))}
    found = owned.by("module", "module")
    assert set(found) == set(sizes)
    for name, pages in found.items():
        # Text that shares huge pages with other modules' is still counted by its module.
        assert pages == sizes[name] >> 12, name


def test_bpf_maps_and_programs(owned: Owned) -> None:
    found = owned.by("name", "bpf")

    def of(name: str) -> int:
        (pages,) = (n for owner, n in found.items() if name in owner)
        return pages

    # Values, and a page with the structure of the map; a hash has its elements and its buckets.
    assert of("plain_array") == 64 + 1
    assert of("mapped_array") == 32 + 1
    assert of("hash_of_many") in {128 + 16, 128 + 16 + 1}
    assert of("large_filter") >= 3000 * 8 // 4096


MOUNTS = {"/mnt/data": "", "/mnt/again": "", "/mnt/bound": "/files/3"}


def place(name: str) -> str | None:
    """Return a path below the root of the disk, of one that is seen through one of its mounts."""
    for mount, prefix in MOUNTS.items():
        if name.startswith(f"{mount}/"):
            return prefix + name.removeprefix(mount)
    return None


def expected_files(owned: Owned, *kinds: str) -> Counter[str]:
    """Return the resident pages of files of some kinds by path, as mincore() has them."""
    found: Counter[str] = Counter()
    for file in owned.witness["files"]["open"]:
        if file["kind"] in kinds and file["resident"]:
            # Bytes that are not UTF-8 cannot be in a document.
            path = file["path"].encode("utf-8", "surrogateescape").decode("utf-8", "replace")
            deleted = " (deleted)" if file["note"] == "deleted" else ""
            found[path + deleted] += len(file["resident"])
    return found


def test_files_of_a_disk_by_path(owned: Owned) -> None:
    expected = expected_files(owned, "disk", "overlay")
    assert len(expected) > 200
    found: Counter[str] = Counter()
    for name, pages in owned.by("file", "file").items():
        path = place(name)
        if path is not None:
            found[path] += pages
    assert found == expected


def test_files_of_the_root_and_of_block_devices(owned: Owned) -> None:
    found = owned.by("file", "file")
    for path, pages in expected_files(owned, "root").items():
        (match,) = (n for name, n in found.items() if name.endswith(path))
        assert match == pages
    for path, pages in expected_files(owned, "device").items():
        device = path.removeprefix("/dev/")
        (match,) = (n for name, n in found.items() if re.search(rf"\b{device}$", name))
        assert match == pages, device


def test_files_in_memory(owned: Owned) -> None:
    found = owned.by("file", "shmem")
    mount = "/mnt/tmpfs"
    of_mount = {k.removeprefix(mount): n for k, n in found.items() if k.startswith(f"{mount}/")}
    assert Counter(of_mount) == expected_files(owned, "tmpfs")
    for name, pages in expected_files(owned, "memfd").items():
        assert found[f"memfd:{name}"] == pages
    for segment in owned.witness["files"]["system_v"]:
        number = segment["id"]
        (pages,) = (n for name, n in found.items() if re.match(rf"SYSV\b.*\bid {number}\b", name))
        assert pages == segment["resident"]


def test_all_that_is_cached(owned: Owned) -> None:
    stat = owned.vmstat
    assert owned.kinds["shmem"] == stat["nr_shmem"]
    cached = stat["nr_file_pages"] - stat["nr_shmem"] - stat.get("nr_swapcached", 0)
    # Pages that a driver hands out may have the mapping of its file, which does not cache them.
    driver = owned.by("file", "file")["anon_inodefs"]
    assert owned.kinds["file"] - driver == cached
    assert driver in {0, 9}


def groups(owned: Owned) -> dict[str, dict[str, int]]:
    """Return memory.stat in pages of each cgroup of the scenario."""
    found = {}
    for path, text in owned.witness["texts"].items():
        match = re.fullmatch(r"/sys/fs/cgroup(/.*)?/memory\.stat", path)
        if match is not None:
            words = (line.split() for line in text.splitlines())
            found[match[1] or "/"] = {name: int(n) >> 12 for name, n in words}
    return found


@pytest.mark.parametrize("group", ["/first", "/second", "/second/inner", "/with ü"])
def test_cgroups_are_what_memory_stat_says(owned: Owned, group: str) -> None:
    stat = groups(owned)[group]

    def below(*kinds: str) -> int:
        return sum(
            row["pages"]
            for row in owned.rows("cgroup")
            if row["kind"] in kinds and f"{row['name']}/".startswith(f"{group}/")
        )

    made = [m for name, m in owned.witness["groups"].items() if f"{name}/".startswith(f"{group}/")]
    for name, kinds in {"anon": ("anon",), "file": ("file", "shmem"), "shmem": ("shmem",)}.items():
        assert abs(below(*kinds) - stat[name]) <= BATCH, name
        assert below(*kinds) >= sum(m.get(name, 0) for m in made)


def test_pages_of_users_by_cgroup_are_those_of_kpagecgroup(owned: Owned) -> None:
    flags, inodes = owned.pages_of("kpageflags"), owned.pages_of("kpagecgroup")

    def has(bit: Kpf) -> np.ndarray:
        return flags >> np.uint64(bit) & np.uint64(1) != 0

    # Only the head of a compound page is charged.
    pfns = np.arange(len(flags))
    heads = np.maximum.accumulate(np.where(has(Kpf.COMPOUND_TAIL), 0, pfns))
    user = has(Kpf.LRU)[heads] & ~has(Kpf.SLAB)[heads] & ~has(Kpf.BUDDY)
    found: Counter[str] = Counter()
    for row in owned.rows("cgroup"):
        if row["kind"] in USER:
            found[row["name"]] += row["pages"]
    for name, made in owned.witness["groups"].items():
        expected = int((user & (inodes[heads] == made["ino"])).sum())
        assert found[name] == expected, name


def test_a_removed_cgroup(owned: Owned) -> None:
    pages = expected_files(owned, "disk")["/groups/gone"]
    found: Counter[str] = Counter()
    for row in owned.rows("cgroup"):
        if row["kind"] == "file":
            found[row["name"]] += row["pages"]
    gone = [n for name, n in found.items() if name.startswith("/gone")]
    # Its pages stay charged to it; a kernel that has moved them to its parent has none left. Those
    # that were on a CPU's list when the cache was dropped had been charged before.
    assert sum(gone) == 0 or pages - PER_LIST <= sum(gone) <= pages + 1
    assert sum(found.values()) >= pages > PER_LIST


@pytest.mark.kernels("newest")
def test_an_idle_guest_has_few_unknown_pages(owned_idle: Owned) -> None:
    most = MOST_UNKNOWN.get(owned_idle.kernel.name, 0.0012)
    unknown = owned_idle.by("name", "unknown")
    print(*unknown.most_common(), sep="\n")  # noqa: T201 - shown on failure
    spanned = owned_idle.said_by("owners")["coverage"]["spanned"]
    assert 0 < sum(unknown.values()) <= most * spanned
    # Each signature is listed by itself.
    assert len(unknown) > 1


@pytest.mark.kernels("newest")
def test_the_counts_of_an_idle_guest(owned_idle: Owned) -> None:
    assert owned_idle.said_by("owners")["coverage"].get("missing", []) == []
    assert sum(owned_idle.kinds[kind] for kind in VMALLOC) == owned_idle.meminfo["VmallocUsed"]
    assert owned_idle.kinds["percpu"] == owned_idle.meminfo["Percpu"]
    assert sum(owned_idle.kinds.values()) == spanned_by_iomem(owned_idle)


def test_list_and_summary_have_the_same_owners(owned: Owned) -> None:
    kinds = owned.kinds
    summed = {r["name"]: r["pages"] for r in owned.said_by("summary", "--by", "owner")["rows"]}
    assert summed == dict(kinds)
    for owner, pages in (
        ("percpu", kinds["percpu"]),
        ("slab:task_struct", owned.by("cache")["task_struct"]),
        ("stack", kinds["stack"]),
    ):
        runs = owned.said_by("list", "--owner", owner)["runs"]
        assert sum(run["end"] - run["start"] for run in runs) == pages > 0


def test_debug_information_changes_nothing(owned: Owned) -> None:
    if owned.kernel.vmlinux is None:
        pytest.skip(f"no vmlinux of {owned.kernel.release}: pageinspect vm build --debuginfo")
    for by in ("kind", "name", "cgroup"):
        found = owned.said_by("owners", "--by", by, "-s", owned.kernel.vmlinux)
        assert found["rows"] == owned.said_by("owners", "--by", by)["rows"]


def test_jobs_change_nothing(owned: Owned) -> None:
    one, more = (owned.said_by("owners", "--by", "name", "-j", jobs) for jobs in (1, 3))
    assert one["rows"] == more["rows"]


def test_a_filtered_dump_answers_with_what_is_there(owned: Owned) -> None:
    done = pageinspect("owners", "-c", owned.refiltered(31), "--format", "json")
    assert done.returncode in {0, 3}, done.stderr
    answer = json.loads(done.stdout)
    found = Counter({row["kind"]: row["pages"] for row in answer["rows"]})
    assert answer["total"]["pages"] == sum(found.values()) == sum(owned.kinds.values())
    # These start from struct pages, which every dump has.
    for kind in ("free", "anon", "file", "shmem", "hugetlb", "slab", "zsmalloc", "page_pool"):
        assert found[kind] == owned.kinds[kind], kind
    if done.returncode == 3:
        assert answer["coverage"]["missing"]
    else:
        assert found == owned.kinds


def test_vmcoreinfo_alone_does_what_it_can(owned: Owned) -> None:
    done = pageinspect(
        "owners", "-c", owned.core, "--symbols-from", "vmcoreinfo", "--format", "json"
    )
    assert done.returncode == 3, done.stderr
    answer = json.loads(done.stdout)
    found = Counter({row["kind"]: row["pages"] for row in answer["rows"]})
    assert answer["total"]["pages"] == sum(found.values()) == sum(owned.kinds.values())
    assert found["slab"] > 0
    assert found["unknown"] > owned.kinds["unknown"]
    assert answer["coverage"]["missing"]


def test_a_live_kernel(shared_guest: Guest) -> None:
    tries = []
    for _ in range(5):
        done = shared_guest.run(["pageinspect", "owners", "--format", "json"], check=False)
        answer = json.loads(done.stdout)
        assert answer["total"]["pages"] == answer["coverage"]["spanned"]
        wrong = [c for c in answer["counters"] if c["verdict"] not in {"verified", "explained"}]
        if done.status == 0 and not wrong:
            names_of = {check["name"] for check in answer["counters"]}
            assert {"vmalloc", "stack", "percpu", "buddy"} <= names_of
            return
        tries.append((done.status, wrong, done.stderr))
    raise AssertionError(tries)
