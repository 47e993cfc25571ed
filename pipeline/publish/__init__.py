"""Publishing: a dataset or a model, pushed in one atomic step and verified where it lies."""
