"""A starter configuration for samples that nobody has described yet: look at them, guess, and say what was guessed."""
