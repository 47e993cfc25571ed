"""The model side of Shardwright: from a published dataset to a published model. Nothing in `pipeline` imports it."""
