"""Evaluation: generated texts against true ones."""
