"""The page: messages to it, files it shows, outputs that stop with a sentence."""
