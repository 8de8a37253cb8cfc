"""How rows lie in the files of an output: as Parquet, or as samples of tar shards."""
