"""Fixtures of the tests of single commands."""

from played_supervisor import played
from scripted_top import top, top_chain

__all__ = ["played", "top", "top_chain"]
