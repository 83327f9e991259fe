"""The architecture of model.arch, as drgn has it."""

from drgn import Architecture, Platform

from ..model import arch

ARCHITECTURE = Architecture[arch.NAME.upper()]
PLATFORM = Platform(ARCHITECTURE)
