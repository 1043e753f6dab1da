"""The code on the pages about writing stages runs as it is printed."""

import re
import socket
import sys
from contextlib import closing
from importlib import import_module
from importlib.resources import files

import pytest
from chains import wait_until
from outside import Recorder, running

from arroyo import Event, MessageParser, Start, Stop
from arroyo.testing import InMemoryLink, RecordingPublisher

PAGES = {
    "arroyo.stages": ["README.md", "ARROYOPY.md"],
    "arroyo.connectors": ["README.md"],
}


def modules_on_pages():
    """Yield the name and text of each block of Python that begins with its file's name."""
    for package, pages in PAGES.items():
        for page in pages:
            text = files(package).joinpath(page).read_text("utf-8")
            for block in re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
                name = re.match(r"# (\w+)\.py\n", block)
                assert name, f"{page}: a block of Python does not begin with its file's name"
                yield name[1], block


@pytest.fixture
def printed(tmp_path, monkeypatch):
    """Imports a module of the pages by its name."""
    for name, text in modules_on_pages():
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    return import_module


def test_the_motor_listener_receives_lines(printed):
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sender:
        sender.bind(("127.0.0.1", 0))
        port = free_udp_port()
        recorder = Recorder()
        with running(printed("motors").MotorListener(recorder, port)):
            sender.sendto(b"theta 12.5", ("127.0.0.1", port))
            wait_until(lambda: recorder.messages, lambda: "no message came")
    assert recorder.events[0].metadata == {"motor": "theta", "position_mm": 12.5}


def test_the_row_listener_goes_on_after_what_was_acknowledged(printed, tmp_path):
    (tmp_path / "rows.txt").write_text("a\nb\nc\n")
    first = Recorder()
    listener = printed("rows").RowListener(first, str(tmp_path / "rows.txt"))
    listener.start()
    assert first.tokens == [0, 1, 2]
    listener.acknowledge(0)
    second = Recorder()
    printed("rows").RowListener(second, str(tmp_path / "rows.txt")).start()
    assert [event.metadata["row"] for event in second.events] == ["b", "c"]


PEAKS = [Start(), Event({"max": 5.0}), Event({"max": 20.0}), Stop()]


def test_the_operator_from_arroyopy_runs_in_a_chain_and_by_hand(printed):
    with InMemoryLink(printed("peaks").PeakOperator()) as link:
        in_a_chain = [type(message) for message in link.process_all(PEAKS)]
    operator, by_hand = printed("peaks").PeakOperator(), RecordingPublisher()
    operator.add_publisher(by_hand)
    for message in PEAKS:
        operator.process(message)
    assert in_a_chain == [type(message) for message in by_hand.messages] == [Start, Event, Stop]
    assert by_hand.messages[1].metadata == {"peak": True, "max": 20.0}


def test_stages_put_together_by_hand_hand_on_what_comes(printed, tmp_path, capsys):
    (tmp_path / "numbers.txt").write_text("1\n2.5\n")
    printed("by_hand").run(str(tmp_path / "numbers.txt"))
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(", payload")[0] for line in lines] == [
        "Event(metadata={'number': 1.0}",
        "Event(metadata={'number': 2.5}",
    ]


def test_the_test_of_the_table_publisher_passes(printed, tmp_path):
    printed("test_tables").test_each_position_is_a_row(tmp_path)


def test_the_operator_of_arroyopy_runs(printed):
    with InMemoryLink(printed("peaks").PeakOperator()) as link:
        messages = [Start(), Event({"max": 3.0}), Event({"max": 30.0}), Stop()]
        published = link.process_all(messages)
    assert [type(message) for message in published] == [Start, Event, Stop]
    assert published[1].metadata == {"peak": True, "max": 30.0}


def test_the_labview_parser_reads_an_image(printed):
    parser = printed("labview").LabViewParser()
    assert isinstance(parser, MessageParser)
    header = b'{"rows": 2, "columns": 3, "exposure": 0.5}'
    event = parser.parse([header, bytes(range(12))])
    assert event.array.tolist() == [[1, 515, 1029], [1543, 2057, 2571]]
    assert event.metadata == {"exposure_s": 0.5}


def free_udp_port():
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
