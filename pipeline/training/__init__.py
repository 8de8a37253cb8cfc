"""Training networks with torch: what needs no Ray."""
