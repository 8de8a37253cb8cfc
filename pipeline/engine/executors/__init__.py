"""Ways to get through parts."""
