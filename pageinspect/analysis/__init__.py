"""What columns of pages add up to. Nothing in here imports drgn."""
