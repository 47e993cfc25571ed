"""Tests of new."""
