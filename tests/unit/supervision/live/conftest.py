"""Fixtures of the tests that look at a chain that runs."""

from played_supervisor import played

__all__ = ["played"]
