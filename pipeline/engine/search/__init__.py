"""Searches over what was written, with pictures and sounds from the shards."""
