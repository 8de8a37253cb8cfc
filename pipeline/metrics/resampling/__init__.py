"""Intervals of metrics, from resamples of the samples."""
