"""Scores: how smooth a walk is, how near one image is to another."""
