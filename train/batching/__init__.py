"""Batches: which rows go together, padded or packed."""
