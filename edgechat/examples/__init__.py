"""Worked examples to read, run and copy from, each of which is run by a test."""
