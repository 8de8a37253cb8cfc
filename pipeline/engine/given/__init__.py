"""One sample that is given on the command line: what a model says of it."""
