"""`python -m pipeline` is the command `shardwright`."""

from pipeline.cli import run

run()
