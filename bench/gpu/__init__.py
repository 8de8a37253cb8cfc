"""What this project's loops leave of a device's speed; see :mod:`bench.gpu.__main__`."""
