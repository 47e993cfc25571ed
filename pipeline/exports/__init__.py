"""Exports: the rows of a dataset as other trainers read them."""
