"""Scoring: generated texts against true ones, by task; pure functions of texts."""
