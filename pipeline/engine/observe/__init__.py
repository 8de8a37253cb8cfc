"""What a job shows of itself while it runs."""
