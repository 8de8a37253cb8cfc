"""The configurations that are measured, each a process of its own: ``python -m bench.peers.NAME --shards GLOB``."""
