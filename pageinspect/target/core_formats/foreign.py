# SPDX-License-Identifier: GPL-2.0-only
"""Recognizes files that are not kernel cores, by their first bytes, with advice for each kind."""

from ...model import arch
from . import elf, kdump

_DUMP = "take the dump again as a kernel core: virsh dump --memory-only GUEST CORE"
_CONVERT = "dump the running guest as a kernel core (QEMU's dump-guest-memory), or take a kdump"
_UNPACK = "unpack it first"

MAGICS: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"\x1f\x8b", "is compressed with gzip", f"{_UNPACK}: gzip -d"),
    (0, b"\xfd7zXZ\0", "is compressed with xz", f"{_UNPACK}: xz -d"),
    (0, b"\x28\xb5\x2f\xfd", "is compressed with zstd", f"{_UNPACK}: zstd -d"),
    (0, b"BZh", "is compressed with bzip2", f"{_UNPACK}: bzip2 -d"),
    (0, b"\x04\x22\x4d\x18", "is compressed with lz4", f"{_UNPACK}: lz4 -d"),
    (0, b"\x02\x21\x4c\x18", "is compressed with lz4", f"{_UNPACK}: lz4 -d"),
    (0, b"\x89LZO\0\r\n\x1a\n", "is compressed with lzop", f"{_UNPACK}: lzop -d"),
    (0, b"LZIP", "is compressed with lzip", f"{_UNPACK}: lzip -d"),
    (0, b"\xff\x06\0\0sNaPpY", "is compressed with snappy", f"{_UNPACK}: snzip -d"),
    (0, b"\x5d\0\0", "is compressed with lzma", f"{_UNPACK}: xz -d --format=lzma"),
    (0, b"\x1f\x9d", "is compressed with compress", f"{_UNPACK}: gzip -d"),
    (0, b"PK\x03\x04", "is a zip archive", f"{_UNPACK}: unzip"),
    (0, b"7z\xbc\xaf\x27\x1c", "is a 7z archive", f"{_UNPACK}: 7z x"),
    (0, b"Rar!\x1a\x07", "is a rar archive", f"{_UNPACK}: unrar x"),
    (257, b"ustar", "is a tar archive", f"{_UNPACK}: tar -xf"),
    (0, b"070701", "is a cpio archive", f"{_UNPACK}: cpio -i"),
    (0, b"!<arch>\n", "is an ar archive or a Debian package", f"{_UNPACK}: ar x"),
    (0, b"hsqs", "is a squashfs image", f"{_UNPACK}: unsquashfs"),
    (0, b"QEVM", "is a migration stream of QEMU (savevm, migrate)", _DUMP),
    (0, b"LibvirtQemudSave", "is a file of virsh save", f"virsh restore it, then {_DUMP}"),
    (0, b"LibvirtQemudPart", "is a file of virsh save that is not complete", _DUMP),
    (0, b"QFI\xfb", "is a qcow2 disk image", f"a disk has no memory; {_CONVERT}"),
    (0, b"KDMV", "is a VMDK disk image", "a disk has no memory: VMware's is in .vmss and .vmem"),
    (0, b"conectix", "is a VHD disk image", f"a disk has no memory; {_CONVERT}"),
    (0, b"vhdxfile", "is a VHDX disk image", f"a disk has no memory; {_CONVERT}"),
    (
        64,
        b"\x7f\x10\xda\xbe",
        "is a VDI disk image of VirtualBox",
        "dump the guest: VBoxManage debugvm VM dumpvmcore --filename=CORE, and give --vmcoreinfo",
    ),
    (
        0,
        b"\x7fVirtualBox SavedState V",
        "is a saved state of VirtualBox",
        "start the guest and dump it: VBoxManage debugvm VM dumpvmcore --filename=CORE",
    ),
    *(
        (0, magic, "is a suspended state of VMware (.vmss, .vmsn)", "convert it: vmss2core -N6")
        for magic in (
            b"\xd0\xbe\xd2\xbe",
            b"\xd1\xba\xd1\xba",
            b"\xd2\xbe\xd2\xbe",
            b"\xd3\xbe\xd3\xbe",
        )
    ),
    (0, b"PAGEDU64", "is a crash dump of Windows", "pageinspect reads memory of Linux kernels"),
    (0, b"PAGEDUMP", "is a crash dump of Windows", "pageinspect reads memory of Linux kernels"),
    (0, b"MDMP", "is a minidump of a Windows program", "pageinspect reads memory of Linux kernels"),
    (0, b"HIBR", "is a hibernation file of Windows", "pageinspect reads memory of Linux kernels"),
    (
        0,
        b"EMiL",
        "is a LiME dump",
        "it has no VMCOREINFO; take a kdump, or dump the guest from outside",
    ),
    (0, b"XenSavedDomain", "is a saved domain of Xen", "dump it instead: xl dump-core DOMAIN CORE"),
    (
        0,
        b"LinuxGuestRecord",
        "is a saved domain of Xen",
        "dump it instead: xl dump-core DOMAIN CORE",
    ),
    (
        0,
        b"DISKDUMP",
        "is a diskdump core of Linux 2.4 or 2.6",
        "pageinspect reads kernels from 4.18 on",
    ),
    (0, b"\xa8\x19\x01\x61", "is an LKCD dump", "pageinspect reads kernels from 4.18 on"),
    (
        4086,
        b"S1SUSPEND",
        "is a hibernation image of Linux",
        "resume the machine, or take a kdump of it instead",
    ),
    (4086, b"SWAPSPACE2", "is a swap area", "name the core itself"),
    (0, b"\xcf\xfa\xed\xfe", "is a Mach-O file", "pageinspect reads memory of Linux kernels"),
)
"""(offset, bytes at this offset, what the file is, hint)."""

HEADER_BYTES = 8192
"""Bytes from the start of the file that explain() examines."""

_KINDS = {1: "an object file or a module", 2: "a program or a vmlinux", 3: "a program or a library"}
_KERNEL = "give a kernel core: ELF with VMCOREINFO (pageinspect vm dump) or kdump (makedumpfile)"
_ARCHITECTURE = f"pageinspect reads {arch.NAME} kernels only, 64-bit ones"
_BOOT_MAGIC_AT = 514


def explain(start: bytes) -> tuple[str, str] | None:
    """Return what kind of file this is, and a hint, if it is not a core; None if it may be one.

    `start` are its first HEADER_BYTES bytes, or all of a shorter file.
    """
    if not start:
        return "is empty", "was the disk full when the core was copied?"
    if not start.strip(b"\0"):
        return (
            "begins with zeros",
            "was it written completely? raw memory has no headers: " + _DUMP,
        )
    for offset, magic, what, hint in MAGICS:
        if start[offset : offset + len(magic)] == magic:
            return what, hint
    if start[_BOOT_MAGIC_AT : _BOOT_MAGIC_AT + 4] == b"HdrS":
        return "is a kernel image (bzImage)", _KERNEL
    return _elf(start) or _kdump(start)


def _elf(start: bytes) -> tuple[str, str] | None:
    found = elf.identify(start)
    if found is None:
        return None
    kind, machine = found
    if kind != elf.CORE:
        what = _KINDS.get(kind, "an ELF file of an unknown kind")
        return f"is {what}, not a core", f"a vmlinux is given with -s; {_KERNEL}"
    if machine != arch.ELF_MACHINE:
        return f"is of {elf.MACHINES.get(machine, f'ELF machine {machine}')}", _ARCHITECTURE
    return None


def _kdump(start: bytes) -> tuple[str, str] | None:
    machine = kdump.machine(start)
    if machine is None or machine in ("", arch.NAME):
        return None
    return f"is of {machine}", _ARCHITECTURE
