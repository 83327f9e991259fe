# SPDX-License-Identifier: GPL-2.0-only
"""All about one moment of memory as one HTML file that needs nothing else."""
