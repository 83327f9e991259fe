"""`python -m pageinspect`."""

from .cli.main import entry

entry()
