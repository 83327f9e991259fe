# SPDX-License-Identifier: GPL-2.0-only
"""Names of owners: each reader turns distinct words of struct page into names.

A reader is made once for a kernel: its constructor raises MissingStructureError if this kernel
lacks a structure that it needs. Its methods raise no errors for damaged memory. What cannot be read
has the name model.owner_names.UNREADABLE, and is counted in the reader's `unreadable`. Names are
untrusted text of bounded length.
"""
