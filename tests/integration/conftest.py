"""Fixtures of the tests that run whole chains."""

from accounts import account, programs_for_anybody
from chains import make_chain

__all__ = ["account", "make_chain", "programs_for_anybody"]
