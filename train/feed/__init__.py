"""Feeding: rows of shards, in place, to examples; no second copy, no network."""
