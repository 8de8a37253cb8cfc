"""What moves the weights: the optimizer, the course of its learning rate, and an average of the weights."""
