# SPDX-License-Identifier: GPL-2.0-only
"""Debian's archive, read by apt with a private state folder: any user can use any suite."""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..errors import PageInspectError
from ..host.files import write_trusted
from . import cache, catalogue, tools
from .progress import Progress, silent

MIRROR_VARIABLE = "PAGEINSPECT_DEBIAN_MIRROR"
"""Environment variable that names the Debian mirror instead of the host's apt configuration."""

_KEYRINGS = ("debian-archive-keyring.gpg", "debian-archive-keyring.pgp")

# Other vendors also have a suite "bookworm", but without the component "main", or with a suffix
# ("bookworm-pgdg").
_DEBIAN_SUITE = re.compile(
    r"(bookworm|trixie|forky|sid|stable|testing|unstable)(-updates|-backports)?"
)

_NETWORK_HINT = f"check the network, or set {MIRROR_VARIABLE} to a mirror that has this suite"


@dataclass(frozen=True)
class Package:
    """One binary package of the archive. `size` is that of its file, in bytes."""

    name: str
    version: str
    size: int
    depends: tuple[tuple[str, ...], ...]
    """Package names; each inner tuple is a choice of alternatives."""


def mirror() -> str:
    """Return the URL of the Debian mirror to use.

    Raises PageInspectError when neither the environment nor the host's apt names one.
    """
    if named := os.environ.get(MIRROR_VARIABLE):
        return named.rstrip("/")
    tools.require(["apt-get"])
    listing = tools.run(
        [
            "apt-get",
            "indextargets",
            "--format",
            "$(SITE) $(RELEASE) $(COMPONENT)",
            "Created-By: Packages",
        ],
        why="cannot read the host's list of archives",
        hint=f"set {MIRROR_VARIABLE} to the URL of a Debian mirror",
    )
    found = choose_mirror(listing)
    if found is None:
        raise PageInspectError(
            "the host's apt configuration names no Debian mirror",
            f"set {MIRROR_VARIABLE} to the URL of one, as in sources.list",
        )
    return found


def choose_mirror(listing: str) -> str | None:
    """Return the Debian mirror in lines of "SITE RELEASE COMPONENT", None when there is none."""
    for line in listing.splitlines():
        fields = line.split()
        if len(fields) == 3 and fields[2] == "main" and _DEBIAN_SUITE.fullmatch(fields[1]):
            return fields[0].rstrip("/")
    return None


def keyring() -> Path:
    """Return the file with the archive's public keys. Raises PageInspectError without one."""
    for name in _KEYRINGS:
        path = Path("/usr/share/keyrings") / name
        if path.is_file():
            return path
    raise PageInspectError(
        "the public keys of Debian's archive are not on this machine",
        "apt-get install debian-archive-keyring",
    )


class Archive:
    """One suite of Debian's archive, its index fetched when the object is made."""

    def __init__(self, suite: str, progress: Progress = silent) -> None:
        tools.require(["apt-get", "apt-cache", "apt-config"])
        self.suite = suite
        self._progress = progress
        url = mirror()
        self._home = cache.folder("apt", f"{suite}-{catalogue.digest(url)}")
        self._env = {**os.environ, "APT_CONFIG": str(self._home / "apt.conf"), "LC_ALL": "C.UTF-8"}
        with cache.locked(self._home, progress):
            self._configure(url)
            progress(f"reading the index of {suite}")
            self._apt(["apt-get", "--error-on=any", "update"], f"cannot read the index of {suite}")

    def names(self, prefix: str) -> list[str]:
        """Return the names of all packages that start with `prefix`."""
        why = f"cannot list the packages of {self.suite}"
        return sorted(set(self._apt(["apt-cache", "pkgnames", prefix], why).split()))

    def packages(self, names: Iterable[str]) -> dict[str, Package]:
        """Return the newest version of each named package; unknown names are left out."""
        wanted = sorted(set(names) & set(self.names("linux-")))
        if not wanted:
            return {}
        text = self._apt(
            ["apt-cache", "show", "--no-all-versions", *wanted],
            f"cannot read packages of {self.suite}",
        )
        return {package.name: package for package in map(parse_stanza, text.strip().split("\n\n"))}

    def download(self, packages: Iterable[Package], where: Path) -> list[Path]:
        """Fetch packages into a folder, their signatures checked, and return their files."""
        wanted = sorted(packages, key=lambda package: package.name)
        megabytes = sum(package.size for package in wanted) / 1e6
        self._progress(f"downloading {len(wanted)} packages of {self.suite} ({megabytes:.0f} MB)")
        where.mkdir(parents=True, exist_ok=True)
        self._apt(
            ["apt-get", "download", *(f"{package.name}={package.version}" for package in wanted)],
            f"cannot download from {self.suite}",
            cwd=where,
        )
        return sorted(where.glob("*.deb"))

    def _apt(self, argv: list[str], why: str, cwd: Path | None = None) -> str:
        return tools.run(argv, why=why, hint=_NETWORK_HINT, env=self._env, cwd=cwd)

    def _configure(self, url: str) -> None:
        """Write an apt configuration with only the network settings (Acquire) of the host's."""
        home = self._home
        for words in ("state", "lists", "partial"), ("cache", "archives", "partial"):
            cache.folder("apt", home.name, *words)
        source = f"deb [signed-by={keyring()}] {url} {self.suite} main\n"
        write_trusted(home / "sources.list", source)
        dump = tools.run(
            ["apt-config", "dump"], why="cannot read apt's configuration", hint="check apt"
        )
        network = [line for line in dump.splitlines() if line.startswith("Acquire::")]
        settings = {
            "Dir::State": home / "state",
            "Dir::State::status": "/dev/null",
            "Dir::Cache": home / "cache",
            "Dir::Etc::sourcelist": home / "sources.list",
            "Dir::Etc::main": "/dev/null",
            "Dir::Etc::parts": "/dev/null",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::Etc::preferences": "/dev/null",
            "Dir::Etc::preferencesparts": "/dev/null",
            "APT::Architecture": "amd64",
            "APT::Architectures": "amd64",
            # The cache folder may be one that apt's own user cannot enter.
            "APT::Sandbox::User": "",
            "Acquire::Languages": "none",
            # Backports expire after a week and mirrors lag; signatures are still checked.
            "Acquire::Check-Valid-Until": "false",
        }
        lines = network + [f'{key} "{value}";' for key, value in settings.items()]
        write_trusted(home / "apt.conf", "\n".join(lines) + "\n")


def parse_stanza(text: str) -> Package:
    """Return the package that one stanza of an index describes."""
    fields = dict(re.findall(r"^([A-Za-z-]+): (.*)$", text, re.MULTILINE))
    depends = tuple(
        tuple(re.split(r"[\s(:]", choice.strip(), maxsplit=1)[0] for choice in clause.split("|"))
        for clause in fields.get("Depends", "").split(",")
        if clause.strip()
    )
    return Package(fields["Package"], fields["Version"], int(fields["Size"]), depends)
