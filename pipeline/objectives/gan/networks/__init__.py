"""The players: what makes values, what tells made ones from real ones, and what both are given."""
