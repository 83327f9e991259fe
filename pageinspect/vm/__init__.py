# SPDX-License-Identifier: GPL-2.0-only
"""QEMU guests with real kernels: build, boot, run in and dump them, from the recipes in vm-images/.

`pageinspect.vm.guest.Guest` is the Python interface; `pageinspect vm` is the same for a terminal.
"""
