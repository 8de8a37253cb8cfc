"""What happens beside a training: validation, checkpoints, an early end, curves."""
