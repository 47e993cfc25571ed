"""The model side of Shardwright: from a published dataset to a published model.

Not built yet: `make train` says so. Nothing in `pipeline` imports this package.
"""
