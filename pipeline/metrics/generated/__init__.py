"""How near made values are to real ones, by features of both."""
