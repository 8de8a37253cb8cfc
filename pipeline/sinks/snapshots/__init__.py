"""Snapshots: what readers see of an output, how it is made of parts, shown, and kept for a while."""
