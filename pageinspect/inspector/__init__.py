# SPDX-License-Identifier: GPL-2.0-only
"""The Inspector: an opened kernel, and the commands as its methods."""
