"""The demo model: its files, the scripts that draw its data and train it, and the pictures of the README."""
