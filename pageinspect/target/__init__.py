"""Opens what is looked at: the running kernel, a core or a QEMU guest."""
