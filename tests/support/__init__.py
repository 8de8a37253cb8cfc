"""What tests share: shards, stores, clusters, media with known faults."""
