"""Forms of kernel cores, as bytes."""
