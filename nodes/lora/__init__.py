"""The Smooth-LoRA Loader: files found, fitted, patched and written."""
