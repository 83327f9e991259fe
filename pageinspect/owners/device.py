# SPDX-License-Identifier: GPL-2.0-only
"""Memory of devices that has struct pages."""

from .kind import Kind

DEVICE = Kind(
    "device",
    "Memory of devices, in ZONE_DEVICE: persistent memory, memory of GPUs.",
    "The zone of the page.",
    owns=("zone_device",),
    limits="The device is not named.",
)
