"""Events and actions in words, for the history of the supervisor's state machine."""

import pytest

from arroyo.identifiers import ReplicaName
from arroyo.supervision.decisions import actions as act
from arroyo.supervision.decisions import events as ev
from arroyo.supervision.decisions.ending import Ending, Evidence

WORK = ReplicaName("work", 0)
ENDING = Ending(1.5, -11, "", Evidence(stacks="work.0.stacks.1", last_lines=("x",)))


@pytest.mark.parametrize(
    ("happening", "words"),
    [
        (ev.Ready(WORK), "work.0 Ready"),
        (ev.ProcessStarted(WORK, 4711), "work.0 ProcessStarted pid=4711"),
        (ev.StopRequested("SIGINT"), "StopRequested by=SIGINT"),
        (
            act.WillRestart(WORK, ENDING, 0.25, 1, 5),
            "work.0 WillRestart after_s=1.500 status=-11 stacks=work.0.stacks.1 delay_s=0.250 "
            "attempt=1 limit=5",
        ),
        (
            act.GaveUp(WORK, ENDING, None),
            "work.0 GaveUp after_s=1.500 status=-11 stacks=work.0.stacks.1 retry_s=None",
        ),
    ],
)
def test_a_happening_is_one_line_with_what_it_says(happening, words):
    assert str(happening) == words
