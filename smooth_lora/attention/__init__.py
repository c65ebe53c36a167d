"""Attention between images."""
