"""What stands behind `install.py host`, `demo` and `test`: standard library only, kept out of the published pack."""
