"""Dialects: records as other trainers write them, read as one canonical record."""
