"""The text starters, E5 and BGE-M3: one corpus, one vocabulary, one trunk taught by all-MiniLM-L6-v2."""
