# SPDX-License-Identifier: GPL-2.0-only
"""Memory that the guest returned to its hypervisor."""

from .kind import Kind

OFFLINE = Kind(
    "offline",
    "Memory that a balloon, virtio-mem or Hyper-V took from this machine.",
    "The page type.",
    owns=("offline",),
    counter="NR_BALLOON_PAGES, or balloon events",
    limits="A page does not show which of these drivers has it: this kind has no names.",
)
