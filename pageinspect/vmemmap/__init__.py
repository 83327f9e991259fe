"""Reads struct pages in bulk."""
