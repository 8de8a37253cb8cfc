"""Locking: one job at a time writes to a folder, on a disk or in an object store."""
