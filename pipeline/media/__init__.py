"""Media: the content-addressed store, and the doors to Pillow and PyAV."""
