"""Decoding: a part's samples become one table, with what was quarantined, filtered or noted beside it."""
