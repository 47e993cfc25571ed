"""Pages: what a run is looked at by, curves and predictions."""
