"""`InputRecovery`: what a source does about its own death, past and to come.

What it keeps for its next life depends on the listener. Of an input that can be read again it keeps
where it is (`ReplayableInput`, decision 15); of any other one it keeps which runs the next life has
to close (`VolatileInput`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from arroyo.errors import ConfigurationError
from arroyo.protocol.source.source import Source
from arroyo.protocol.values.actions import Action, Persist
from arroyo.runner.intake.input_window import InputWindow
from arroyo.runner.process.stage_context import StageContext
from arroyo.stages import Listener


class InputRecovery(ABC):
    """Keeps what the next life has to know, and takes up what the life before has left."""

    source: Source
    """The state machine, made from what is known."""
    comes_again: bool
    """Whether the outside hands over again what this life does not finish."""
    resumes: bool
    """Whether the next life goes on where this one ends, in the same runs."""

    @abstractmethod
    def note_open(self) -> None:
        """The listener has opened: this is a life that the next one has to know of."""

    def close_former(self, now: float) -> list[Action]:
        """Close what the life before has left open; everything below is there."""
        return []

    def resume(self, now: float) -> list[Action]:
        """Go on where the life before was; the listener has started, and may be acknowledged."""
        return []

    @abstractmethod
    def keep(self, action: Persist) -> None:
        """Write down what the state machine says; it acts on it only after that."""

    @abstractmethod
    def close(self) -> None:
        """Close the files, which stay."""


def make_recovery(replica: StageContext, listener: Listener, window: InputWindow) -> InputRecovery:
    """Choose by what the listener says of its input.

    ConfigurationError: the input can be read again, and the chain file allows for losses; or its
    journal is of another version.
    UnavailableError: there is no room for the journal.
    """
    from .volatile_input import VolatileInput

    redelivers = getattr(listener, "redelivers", False)
    if not getattr(listener, "replayable", False):
        return VolatileInput(replica, window, comes_again=redelivers)
    if replica.stage.delivery != "reliable":
        raise ConfigurationError(
            f"stages.{replica.stage.name}.delivery: the input of {replica.stage.target} "
            "can be read again, so that nothing of it needs to be lost; leave delivery out"
        )
    if replica.state is None:
        return VolatileInput(replica, window, comes_again=redelivers)
    from .replayable_input import ReplayableInput

    folder = replica.state.source(replica.name)
    found = ReplayableInput(replica, window, folder)
    listener.state_directory = folder
    return found
