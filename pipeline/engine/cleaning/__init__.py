"""Copies and other samples that are left out, found over all parts of an input."""
