"""Base classes of users' stages: `Listener`, `Operator`, `Publisher`, `MessageParser`. No I/O."""

from ._awaiter import Awaiter
from ._base import AllocatingStage, WaitingStage
from ._listener import IteratingListener, Listener, PollingListener, Processor
from ._lists import (
    PUBLISHED_IN_A_LIST,
    call_single,
    find_list_method,
    require_results,
)
from ._operator import Operator, Results
from ._parser import Frame, MessageParser
from ._publisher import Publisher
from ._results import each_result, sort_results
from ._signatures import explain_signature

__all__ = [
    "PUBLISHED_IN_A_LIST",
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
    "call_single",
    "each_result",
    "explain_signature",
    "find_list_method",
    "require_results",
    "sort_results",
]
