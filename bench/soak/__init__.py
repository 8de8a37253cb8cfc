"""Kills batch inference at random points, again and again, and looks whether its output is what it should be."""
