"""`python -m pipeline` is the command `shardwright`."""

from pipeline.cli import main

main(prog_name="shardwright")
