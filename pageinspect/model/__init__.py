"""The data model: frozen dataclasses and numpy arrays. Nothing in here imports drgn."""
