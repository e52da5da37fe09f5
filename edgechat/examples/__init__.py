"""Worked examples: scripts to read, to run and to copy from, each of them run by a test."""
