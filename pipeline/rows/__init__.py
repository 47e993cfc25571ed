"""Rows of finished datasets as conversations, whoever made them."""
