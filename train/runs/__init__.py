"""Runs: one folder for everything that a training does."""
