"""Files of a directory, each reported once when it is complete."""

from .listener import DirectoryListener

__all__ = ["DirectoryListener"]
