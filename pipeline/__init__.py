"""The data side of Shardwright: from a recipe to a published dataset."""
