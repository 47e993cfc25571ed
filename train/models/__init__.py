"""Models: loading, what is trained of them, and merging."""
