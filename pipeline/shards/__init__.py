"""Shards: tar files of samples, planned, scanned, read and written."""
