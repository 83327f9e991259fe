"""What every physical page of a Linux kernel is, and which pages were freed still typed."""

__version__ = "0.1.0"
__all__ = ["__version__", "survey_program"]


def __getattr__(name: str) -> object:
    """Import what needs drgn and numpy when it is first asked for, so that --help does not."""
    if name == "survey_program":
        from .survey import survey_program

        return survey_program
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
