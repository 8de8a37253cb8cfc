"""What Python code uses of the pipeline without a job: samples, batches, what jobs wrote, and models."""
