"""Starts, watches and mends the processes of a chain."""
