"""A developer's own kernel: a bzImage and, where it has some, its modules."""

import json
import shutil
from pathlib import Path

from ..errors import UsageError
from . import cache, catalogue, tools
from .kernel import BuiltKernel, pack_disk
from .progress import Progress, silent

_KEPT = 3


def own_kernel(vmlinuz: Path, modules: Path | None, progress: Progress = silent) -> BuiltKernel:
    """Return a BuiltKernel for files of one's own, its modules packed once for each state of them.

    `modules` is a folder lib/modules/RELEASE or one that contains lib/modules/RELEASE, as
    INSTALL_MOD_PATH does. Raises UsageError when a path is not what it should be.
    """
    if not vmlinuz.is_file():
        raise UsageError(f"{vmlinuz} is no kernel", "give the bzImage, arch/x86/boot/bzImage")
    name = vmlinuz.name
    if modules is None:
        return BuiltKernel(name, "unknown", vmlinuz.absolute(), None, None)
    folder = find_modules(modules)
    home = cache.folder("kernels", "own")
    recipe = catalogue.initrd_recipe()

    def fill(work: Path) -> Path:
        tools.require(tools.BUILD_PROGRAMS)
        progress(f"packing the modules of {folder.name}")
        target = work / "kernel"
        target.mkdir()
        inside = work / "tree/usr/lib/modules" / folder.name
        # `build` and `source` lead to the developer's tree, which is not in the guest.
        shutil.copytree(
            folder, inside, symlinks=True, ignore=shutil.ignore_patterns("build", "source")
        )
        pack_disk(work, folder.name, target)
        return target

    key = catalogue.digest(catalogue.recipe_digest(recipe), folder.name, _state(folder))
    packed = cache.build_once(home / f"{folder.name}-{key}", fill, progress)
    packed.touch()
    cache.prune(home, "[0-9]*", keep=_KEPT)
    return BuiltKernel(
        name,
        folder.name,
        vmlinuz.absolute(),
        packed / "modules.cpio",
        packed / "kernel.squashfs",
    )


def find_modules(modules: Path) -> Path:
    """Return the folder lib/modules/RELEASE that a path is or has. Raises UsageError."""
    found = [modules] if _is_release(modules) else []
    for inside in ("lib/modules", "usr/lib/modules"):
        if not found and (modules / inside).is_dir():
            found = [path for path in sorted((modules / inside).iterdir()) if _is_release(path)]
    if not found:
        raise UsageError(
            f"{modules} has no modules",
            "give what INSTALL_MOD_PATH was for `make modules_install`, or its lib/modules/RELEASE",
        )
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise UsageError(f"{modules} has the modules of {names}", "give the folder of one release")
    return found[0].resolve()


def _is_release(path: Path) -> bool:
    return (path / "kernel").is_dir() or (path / "modules.builtin").is_file()


def _state(folder: Path) -> str:
    """Describe all files of a folder by name, size and time: enough to notice a new build."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    stats = ((str(path.relative_to(folder)), path.stat()) for path in files)
    return json.dumps([(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats])
