"""Model families: how each sees media, and what may be trained in it."""
