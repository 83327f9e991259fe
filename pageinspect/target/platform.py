# SPDX-License-Identifier: GPL-2.0-only
"""drgn's objects for the architecture of model.arch."""

from drgn import Architecture, Platform

from ..model import arch

ARCHITECTURE = Architecture[arch.NAME.upper()]
PLATFORM = Platform(ARCHITECTURE)
