"""Fixtures of the tests that run whole chains."""

from chains import make_chain

__all__ = ["make_chain"]
