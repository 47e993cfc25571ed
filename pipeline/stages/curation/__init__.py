"""The steps of curation, a module each; `registry.py` says which key of a recipe is which."""
