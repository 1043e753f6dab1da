import pytest

from arroyo.config.graph import Ready
from arroyo.config.reading.programs import make_program, program_problems
from arroyo.config.schema import ReadyTable, StageTable


def problems_of(**keys):
    return list(program_problems(StageTable(**keys)))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (None, Ready()),
        ("notify", Ready(notify=True)),
        (ReadyTable(port=8081), Ready(port=8081)),
        (ReadyTable(log="iocRun"), Ready(log="iocRun")),
    ],
)
def test_a_program_is_known_to_be_ready_in_one_way(written, meant):
    table = StageTable(command=["serval", "--port", "8081"], ready=written)
    assert list(program_problems(table)) == []
    stage = make_program("serval", table)
    assert stage.role == "program"
    assert stage.command == ("serval", "--port", "8081")
    assert stage.ready == meant


def test_a_program_has_the_keys_of_a_process():
    table = StageTable(command=["serval"], nice=3, memory_max_bytes=1 << 30, open_files=100)
    assert list(program_problems(table)) == []
    stage = make_program("serval", table)
    assert (stage.nice, stage.memory_max_bytes, stage.open_files) == (3, 1 << 30, 100)


@pytest.mark.parametrize("ready", [ReadyTable(), ReadyTable(8081, "iocRun")])
def test_not_in_two_ways_or_none(ready):
    assert problems_of(command=["serval"], ready=ready) == ["ready: expected one of port and log"]


@pytest.mark.parametrize("command", [[], [""]])
def test_a_command_without_a_program_is_a_mistake(command):
    (found,) = problems_of(command=command)
    assert found.startswith("command: found no program")


def test_an_argument_that_no_program_can_have_is_a_mistake():
    assert problems_of(command=["echo", "a\0b"])


@pytest.mark.parametrize(
    "keys", [{"replicas": 2}, {"inputs": ["a"]}, {"options": {"a": 1}}, {"process_timeout_s": 5.0}]
)
def test_keys_that_say_nothing_about_a_program_are_mistakes(keys):
    (found,) = problems_of(command=["serval"], **keys)
    assert found.startswith(f"{next(iter(keys))}: a program does not have this key, but command")


def test_other_stages_say_themselves_when_they_are_ready():
    (found,) = problems_of(publisher="m:P", ready="notify")
    assert found.startswith("ready: only a program has this key")
    assert problems_of(publisher="m:P") == []
