"""Runs stages: one as a process, or a whole chain in this process."""
