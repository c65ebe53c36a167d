"""The algorithms of inversion and replay, a file each; methods.py puts them together."""
