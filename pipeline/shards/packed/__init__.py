"""Packed shards: which archive a file is, and its bytes unpacked on the way."""
