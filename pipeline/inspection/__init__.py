"""What can be told of shards without decoding them: headers, counts, keys that come twice."""
