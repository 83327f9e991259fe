"""The version, stated once: packaging and --version read it here."""

__version__ = "0.1.0"
