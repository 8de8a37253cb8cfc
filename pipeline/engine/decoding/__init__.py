"""A part becomes a table: in a process of its own, from a cache, or from what preprocess wrote."""
