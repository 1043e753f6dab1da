"""Tools to test users' stages without sockets, processes or waiting."""

from .fake_clock import FakeClock
from .link import InMemoryLink
from .stages import RecordingPublisher, ScriptedListener

__all__ = ["FakeClock", "InMemoryLink", "RecordingPublisher", "ScriptedListener"]
