"""Opens a QEMU guest from outside. monitor.py imports neither drgn nor numpy."""
