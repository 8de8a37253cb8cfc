"""What each job does, in order."""
