"""Idle stages that import numpy and zmq, as most stages of users do."""

from __future__ import annotations

import numpy as np
import zmq

from .event_stages import IdleOperator, IdleSink, IdleSource

LIBRARIES = {"numpy": np.__version__, "pyzmq": zmq.__version__}


class ImportingSource(IdleSource):
    """Sends nothing."""


class ImportingOperator(IdleOperator):
    """Receives nothing."""


class ImportingSink(IdleSink):
    """Receives nothing."""
