"""Commands behind `install.py host`, `demo` and `test`; only the standard library, and never published."""
