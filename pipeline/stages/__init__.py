"""Stages: one function each, from a recipe's sources to a proved dataset."""
