"""Readers: one annotation file in, batches of raw records with their lines out, streaming."""
