"""A person's own objective and modality: nothing of the project but its contracts knows of them."""
