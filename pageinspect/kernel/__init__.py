"""Readers of kernel state beside struct pages, through drgn."""
