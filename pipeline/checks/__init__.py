"""Checks: what proves a dataset folder, one small function each."""
