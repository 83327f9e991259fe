# SPDX-License-Identifier: GPL-2.0-only
"""The initrd: busybox and the init script, common to all kernels, and a kernel's own modules.

The kernel unpacks concatenated archives, so the two parts are built separately and joined at boot:
a changed init script does not rebuild any kernel.
"""

import gzip
import lzma
import re
import shutil
from pathlib import Path

from ..paths import data_folder
from . import cache, catalogue, tools
from .errors import BuildError
from .progress import Progress, silent


def base(progress: Progress = silent) -> Path:
    """Return the archive with busybox and the init script, made if it is not there."""
    tools.require(["busybox"])
    busybox = Path(tools.find("busybox") or "busybox")
    init = data_folder("vm-images") / "init"
    name = f"initrd-{catalogue.digest(init.read_bytes(), busybox.read_bytes())}.cpio"

    def build(work: Path) -> Path:
        stage = work / "tree"
        for folder in ("bin", "dev", "proc", "sys", "run"):
            (stage / folder).mkdir(parents=True)
        shutil.copy(busybox, stage / "bin/busybox")
        shutil.copy(init, stage / "init")
        (stage / "init").chmod(0o755)
        return _archive(stage, work / name)

    path = cache.build_once(cache.folder("root") / name, build, progress)
    cache.prune(path.parent, "initrd-*.cpio", keep=3)
    return path


def pack_modules(modules: Path, work: Path, target: Path) -> None:
    """Write an archive `target` with the modules that a guest needs before it has its root.

    `modules` is a folder lib/modules/RELEASE with its modules.dep, `work` a scratch folder. Raises
    BuildError when a required module is neither built in nor a module.
    """
    stage = work / "initrd"
    (stage / "modules").mkdir(parents=True)
    order = load_order(modules, catalogue.initrd_recipe())
    for number, module in enumerate(order):
        # Loaded in the order of their names: a module comes after those it needs.
        plain = f"{number:02}-{re.sub(r'[.](gz|xz|zst)$', '', module.name)}"
        _unpack(module, stage / "modules" / plain)
    _archive(stage, target)


def load_order(modules: Path, recipe: catalogue.InitrdRecipe) -> list[Path]:
    """Return the module files to load, each after those that it depends on."""
    depends = dict(_dependencies(modules / "modules.dep"))
    by_name = {module_name(path): path for path in depends}
    builtin = {module_name(line) for line in _lines(modules / "modules.builtin")}
    order: list[str] = []
    missing = []
    for name in (*recipe.required, *recipe.wanted):
        if name in by_name:
            path = by_name[name]
            # modules.dep lists what a module needs with the deepest dependency last.
            order += [each for each in (*reversed(depends[path]), path) if each not in order]
        elif name not in builtin and name in recipe.required:
            missing.append(name)
    if missing:
        raise BuildError(
            f"the kernel of {modules} has {', '.join(missing)} neither as modules nor built in",
            "enable "
            + ", ".join(f"CONFIG_{_OPTION.get(name, name.upper())}" for name in missing)
            + ", and install its modules with `make modules_install INSTALL_MOD_PATH=DIR`",
        )
    return [modules / path for path in order]


_OPTION = {"overlay": "OVERLAY_FS"}
"""Configuration options whose name differs from the module's."""


def module_name(path: str) -> str:
    """Return the name the kernel gives a module file: virtio_blk for .../virtio-blk.ko.xz."""
    return Path(path.strip()).name.split(".")[0].replace("-", "_")


def _dependencies(path: Path) -> list[tuple[str, list[str]]]:
    pairs = (line.partition(":") for line in _lines(path))
    return [(module, needs.split()) for module, _, needs in pairs]


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.is_file() else []


def _unpack(module: Path, target: Path) -> None:
    """Write a module without its compression."""
    match module.suffix:
        case ".xz":
            target.write_bytes(lzma.decompress(module.read_bytes()))
        case ".gz":
            target.write_bytes(gzip.decompress(module.read_bytes()))
        case ".zst":
            # Python reads this format only from 3.14 on.
            tools.run(
                ["zstd", "--decompress", "--quiet", str(module), "-o", str(target)],
                why=f"cannot decompress {module}",
                hint="check that the file is whole",
            )
        case _:
            shutil.copyfile(module, target)


def _archive(stage: Path, target: Path) -> Path:
    names = sorted(str(path.relative_to(stage)) for path in stage.rglob("*"))
    tools.run(
        ["cpio", "--create", "--null", "--quiet", "-H", "newc", "-R", "0:0", "-O", str(target)],
        why="cannot write the initrd",
        hint="check that the disk is not full",
        cwd=stage,
        stdin="".join(f"{name}\0" for name in names).encode(),
    )
    return target
