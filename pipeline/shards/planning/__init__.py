"""Planning: patterns -> shards -> parts, from the shards or their sidecar indexes."""
