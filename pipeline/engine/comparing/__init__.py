"""Comparing models: runs that were evaluated, and cheap models that are fitted on the spot."""
