"""Tests of mix."""
