"""Computes results from columns of pages: totals, counter checks, facts. No module imports drgn."""
