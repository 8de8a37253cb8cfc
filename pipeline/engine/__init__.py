"""The only layer that knows Ray: where the work runs, and how it flows."""
