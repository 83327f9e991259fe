"""Readers of kernel state other than struct pages, through drgn."""
