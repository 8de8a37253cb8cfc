"""Tars: headers, members, and which members make a sample."""
