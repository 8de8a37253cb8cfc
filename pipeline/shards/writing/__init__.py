"""Writing: sets of shards, bounded in size and the same whenever they are written."""
