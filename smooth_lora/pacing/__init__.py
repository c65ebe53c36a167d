"""Even pacing: frames where neighbouring images differ equally."""
