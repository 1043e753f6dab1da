"""What users need to test their stages without sockets, processes or waiting."""

from .clock import FakeClock
from .link import InMemoryLink
from .stages import RecordingPublisher, ScriptedListener

__all__ = ["FakeClock", "InMemoryLink", "RecordingPublisher", "ScriptedListener"]
