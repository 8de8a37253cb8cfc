"""Processes that hold a model, and parts on their way through them."""
