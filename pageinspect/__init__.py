"""What every physical page of a Linux kernel is, and which pages were freed still typed."""

__version__ = "0.1.0"
