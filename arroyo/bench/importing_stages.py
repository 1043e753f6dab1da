"""Idle stages that import what most stages of users do: numpy and zmq."""

from __future__ import annotations

import numpy as np
import zmq

from .stages import IdleOperator, IdleSink, IdleSource

LIBRARIES = {"numpy": np.__version__, "pyzmq": zmq.__version__}


class ImportingSource(IdleSource):
    """Sends nothing."""


class ImportingOperator(IdleOperator):
    """Never gets anything."""


class ImportingSink(IdleSink):
    """Never gets anything."""
