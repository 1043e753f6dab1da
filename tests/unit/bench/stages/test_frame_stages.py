import numpy as np
import pytest

from arroyo.bench.meter import read_notes
from arroyo.bench.stages.frame_stages import (
    FillingSource,
    FrameSource,
    IntegrateFrames,
    ReadFrames,
    TransformFrames,
)
from arroyo.messages import Event, Start, Stop

PAYLOAD_BYTES = 64 * 1024


class Collector:
    """Stands for the chain behind a listener."""

    def __init__(self):
        self.messages = []

    def process(self, message):
        self.messages.append(message)


@pytest.mark.parametrize("source", [FrameSource, FillingSource])
def test_a_source_makes_one_run_of_frames(source, tmp_path):
    collector = Collector()
    stage = source(collector, notes=str(tmp_path), events=3, payload_bytes=PAYLOAD_BYTES)
    stage.open()
    stage.start()
    stage.close()
    start, *events, stop = collector.messages
    assert isinstance(start, Start) and isinstance(stop, Stop)
    assert [event.metadata["index"] for event in events] == [0, 1, 2]
    assert [event.array.tolist() for event in events] == [
        [float(index)] * (PAYLOAD_BYTES // 4) for index in range(3)
    ]
    assert [note.role for note in read_notes(tmp_path)] == ["source"]


@pytest.mark.parametrize(
    ("make", "sum_of_result"),
    [
        (lambda notes: ReadFrames(notes=notes), 4 * 1024),
        (lambda notes: TransformFrames(notes=notes), 3 * 1024),
        (lambda notes: IntegrateFrames(notes=notes, pixels=512), 4 * 512),
    ],
    ids=["read", "transform", "integrate"],
)
def test_an_operator_works_on_each_frame_and_times_it(make, sum_of_result, tmp_path):
    operator = make(str(tmp_path))
    event = Event.from_array(np.full(1024, 4.0, np.float32), index=7)
    assert isinstance(operator.process(Start()), Start)
    result = operator.process(event)
    assert result.array.sum() == sum_of_result
    assert result.metadata == {"index": 7}
    assert isinstance(operator.process(Stop()), Stop)
    [note] = read_notes(tmp_path)
    assert note.role == "relay"
    assert len(note.work_ns) == len(note.work_faults) == 1
