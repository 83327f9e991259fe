"""The data model: frozen dataclasses and numpy arrays. Nothing in this package imports drgn."""
