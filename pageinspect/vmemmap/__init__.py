"""Bulk reads of struct pages."""
