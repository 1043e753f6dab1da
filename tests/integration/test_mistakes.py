"""What people get wrong: one clear sentence, the right exit code, and nothing left running."""

import socket

import pytest
from chains import listener, operator, publisher, wait_until

COUNT = listener("count", events=5)
WORK = operator("work", "Pass", ["count"])
WRITE = publisher("write", ["work"])
IMAGES = "arroyo.connectors.directory_watch:DirectoryListener"
ZMQ = '[stages.send]\npublisher = "arroyo.connectors.zeromq:ZMQPublisher"\ninputs = ["count"]\n'


@pytest.fixture
def used_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


WRONG_FILES = {
    "key": (
        [COUNT, WORK.replace("inputs", "input"), WRITE],
        "stages.work.input: there is no such key; did you mean 'inputs'?",
    ),
    "module": (
        [COUNT, WORK.replace("own_stages", "own_stage"), WRITE],
        "there is no module 'own_stage'",
    ),
    "class": (
        [COUNT.replace("Count", "Cuont"), WORK, WRITE],
        "has no Cuont; did you mean 'Count'?",
    ),
    "option": (
        [COUNT.replace("events", "event"), WORK, WRITE],
        "stages.count.options.event: Count has no such option; did you mean 'events'?",
    ),
    "input": (
        [COUNT, WORK.replace('"count"', '"cuont"'), WRITE],
        "stages.work.inputs[0]: there is no stage 'cuont'; did you mean 'count'?",
    ),
    "yield": (
        [COUNT, WORK, publisher("write", ["work"], "YieldingWrite")],
        "stages.write.publisher: own_stages:YieldingWrite: publish() contains yield, so that",
    ),
    "loop": (
        [
            COUNT,
            operator("work", "Pass", ["count", "more"]),
            operator("more", "Pass", ["work"]),
            WRITE,
        ],
        "the chain runs in a loop: work → more → work",
    ),
    "syntax": (["[stages.work\n"], "this is not valid TOML"),
    "nothing": ([], "there are no stages"),
}


@pytest.mark.parametrize(("tables", "sentence"), WRONG_FILES.values(), ids=WRONG_FILES)
@pytest.mark.parametrize("options", [(), ("--in-process",)], ids=["processes", "in-process"])
def test_a_mistake_in_the_file_is_told_before_anything_starts(
    make_chain, tables, sentence, options
):
    chain = make_chain(*tables)
    supervisor = chain.supervise(*options)
    assert supervisor.wait() == 78
    assert len(supervisor.lines) == 1, supervisor.text
    assert supervisor.text.startswith("error: ")
    assert sentence in supervisor.text


def test_all_mistakes_are_told_at_once(make_chain):
    chain = make_chain(COUNT.replace("events", "event"), WORK.replace("Pass", "Puss"), WRITE)
    supervisor = chain.supervise()
    assert supervisor.wait() == 78
    assert len(supervisor.lines) == 2


def test_a_port_of_the_chain_that_somebody_else_uses_is_told_before_anything_starts(
    make_chain, used_port
):
    listen = f'listen = "tcp://127.0.0.1:{used_port}"'
    chain = make_chain(COUNT, operator("work", "Pass", ["count"], keys=listen), WRITE)
    supervisor = chain.supervise()
    assert supervisor.wait() == 78
    assert supervisor.lines == [
        f"error: {chain.path}:11: stages.work.listen: port {used_port} is in use by another program"
    ]


def test_a_port_of_a_connector_that_somebody_else_uses_ends_the_chain(make_chain, used_port):
    chain = make_chain(COUNT, f"{ZMQ}options = {{ port = {used_port} }}\n")
    assert_ends_the_chain(chain, f"tcp://127.0.0.1:{used_port} can't be bound: another program")


def test_a_directory_that_is_not_there_ends_the_chain(make_chain):
    chain = make_chain(listener("images", IMAGES, directory="nowhere"), publisher("w", ["images"]))
    assert_ends_the_chain(chain, f"the directory {chain.folder / 'nowhere'} can't be listed")


@pytest.mark.parametrize("name", ["count", "work", "write"])
def test_in_one_process_a_stage_that_does_not_open_is_one_sentence(make_chain, name):
    chain = make_chain(COUNT, WORK, WRITE)
    kinds = {"count": "Count", "work": "Pass", "write": "Write"}
    text = "def open(self):\n        raise RuntimeError('no camera')"
    stages = chain.folder / "own_stages.py"
    broken = f"\n\nclass Broken({kinds[name]}):\n    {text}\n"
    stages.write_text(stages.read_text() + broken)
    chain.edit(f":{kinds[name]}", ":Broken")
    program = chain.supervise("--in-process")
    assert program.wait() == 70
    assert program.lines == ["error: Broken.open() raised RuntimeError: no camera"]


@pytest.mark.logs_errors(r"ended its process by sys\.exit\(78\)")
def test_a_stage_that_exits_is_told_with_its_reason(make_chain):
    chain = make_chain(COUNT, WORK, WRITE)
    text = "\n\nclass Exits(Pass):\n    def open(self):\n        raise SystemExit(78)\n"
    stages = chain.folder / "own_stages.py"
    stages.write_text(stages.read_text() + text)
    chain.edit(":Pass", ":Exits")
    assert_ends_the_chain(chain, "the stage's code has ended its process by sys.exit(78)")


def assert_ends_the_chain(chain, sentence):
    supervisor = chain.supervise()
    assert supervisor.wait() == 78
    assert supervisor.text.count(sentence) == 1
    assert "Traceback" not in supervisor.text
    assert not chain.pids()


def test_an_unreadable_image_is_told_and_the_next_one_is_taken(make_chain):
    chain = make_chain(
        listener("images", IMAGES, directory=".", pattern="*.tif", read="array", settle_s=0),
        publisher("write", ["images"]),
    )
    (chain.folder / "broken.tif").write_bytes(b"no image at all")
    supervisor = chain.supervise()
    log = chain.run_directory.log("images.0")
    wait_until(lambda: log.exists() and "broken.tif" in log.read_text(), chain.text)
    assert supervisor.runs
    assert chain.pids()["images.0"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["arroyo-supervise", "nope.toml"], "there is no chain file nope.toml"),
        (["arroyo-supervise"], "Missing argument 'CHAIN'"),
        (["arroyo-stage", "chain.toml", "wrok"], "has no stage 'wrok'; did you mean 'work'?"),
        (["arroyo-stage", "chain.toml", "work", "--replica", "3"], "there is no replica 3"),
        (["arroyo", "chek", "chain.toml"], "there is no command 'chek'; did you mean 'check'?"),
        (["arroyo", "status", "nope"], "no running chain 'nope'"),
        (["arroyo", "quarantine"], "Missing command; see 'arroyo quarantine --help'"),
    ],
)
def test_a_wrong_command_line_is_told_in_one_sentence(make_chain, arguments, sentence):
    program = make_chain(COUNT, WORK, WRITE).start(*arguments)
    assert program.wait() == 64
    assert len(program.lines) == 1
    assert sentence in program.text
