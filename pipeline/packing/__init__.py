"""Packing: folders and tables of a user's own files become shards, split and checked as the other jobs read them."""
