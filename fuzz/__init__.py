"""Fuzzing: one harness a subject, each a plain function `check(data)` that states what holds for any bytes."""
