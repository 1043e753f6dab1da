"""Fixtures of the tests that run whole chains."""

from accounts import account
from chains import make_chain

__all__ = ["account", "make_chain"]
