"""Sources: where raw files come from."""
