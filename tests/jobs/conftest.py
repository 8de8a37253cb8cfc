"""Fixtures of the tests that run whole jobs."""

from ray_cluster import family, ray_head

__all__ = ["family", "ray_head"]
