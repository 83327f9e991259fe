"""What every physical page of a Linux kernel is, and which pages were freed still typed."""

from .version import __version__

__all__ = ["__version__", "from_program"]


def __getattr__(name: str) -> object:
    """Import what needs drgn and numpy when it is first asked for, so that --help does not."""
    if name == "from_program":
        from .inspector.inspector import from_program

        return from_program
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
