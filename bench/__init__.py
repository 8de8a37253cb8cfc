"""Measurements: ratios taken in one run, never tests."""
