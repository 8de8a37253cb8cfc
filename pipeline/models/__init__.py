"""What networks are built of: layers, fusions, the optimizer, and the sealed bundle."""
