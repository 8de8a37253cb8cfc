"""The material of the demo's data set: handwritten digits, spoken digits, and sentences."""
