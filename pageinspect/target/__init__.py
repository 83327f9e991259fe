"""Opens the kernel to inspect: the running one, a core or a QEMU guest."""
