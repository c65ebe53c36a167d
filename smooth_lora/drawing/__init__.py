"""Plots, strips of frames and tables."""
