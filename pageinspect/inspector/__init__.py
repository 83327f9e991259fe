"""The Inspector: an opened kernel, and the commands as its methods."""
