# SPDX-License-Identifier: GPL-2.0-only
"""The screen of `top`: a process that reads memory, and a terminal application that shows it."""
