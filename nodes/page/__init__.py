"""The page: messages to it, files it shows, outputs it cannot give."""
