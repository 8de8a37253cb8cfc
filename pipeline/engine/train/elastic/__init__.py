"""Workers of a training that come and go: how many there are, what is written before they change, and who is told."""
