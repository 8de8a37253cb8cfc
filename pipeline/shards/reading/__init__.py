"""Reading: the samples of a part, whole or by their headers."""
