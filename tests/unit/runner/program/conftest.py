"""Programs run in real processes."""

from chains import make_chain

__all__ = ["make_chain"]
