"""What the lint job does: it reads headers and small members on all CPUs."""
