"""Opens a QEMU guest from outside. Its QMP client needs neither drgn nor numpy."""
