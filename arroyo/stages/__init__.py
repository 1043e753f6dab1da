"""What users write: `Listener`, `Operator`, `Publisher`, `MessageParser`. No I/O in here."""

from ._allocating import AllocatingStage
from ._awaiting import Awaiter
from ._listener import IteratingListener, Listener, PollingListener, Processor
from ._operator import Operator, Results
from ._parser import Frame, MessageParser
from ._publisher import Publisher
from ._results import each_result, sort_results
from ._waiting import WaitingStage

__all__ = [
    "AllocatingStage",
    "Awaiter",
    "Frame",
    "IteratingListener",
    "Listener",
    "MessageParser",
    "Operator",
    "PollingListener",
    "Processor",
    "Publisher",
    "Results",
    "WaitingStage",
    "each_result",
    "sort_results",
]
