"""The node Walk to Video."""
