"""Fixtures of the tests of the page."""

from played_supervisor import played

__all__ = ["played"]
