"""Files: written whole, read with one sentence for each fault, cached by content."""
