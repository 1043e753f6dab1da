"""Runs as NeXus/HDF5 files, readable while they are written."""

from .publisher import HDF5Publisher

__all__ = ["HDF5Publisher"]
