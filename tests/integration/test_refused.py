"""What can't be sent is refused where it is handed over: in the user's call, and in words."""

import json
import signal

import zmq
from chains import indices, listener, operator, publisher, totals, wait_until

STAGES = """
from arroyo import Event, Listener, Message, MessageParser, Operator, Start, Stop
from arroyo.errors import EncodeError


class Reading(Message):
    index: int


class Careless(Listener):
    \"\"\"Hands over some that can't be sent, and notes what it is told.\"\"\"

    def start(self):
        self.told = []
        self.hand_over(Start({1: "no text"}))
        self.operator.process(Start({}))
        for index in range(20):
            self.hand_over(Event({"index": index}))
        self.hand_over(Event({"index": 20, 5: "no text"}))
        self.hand_over(Event({"index": 21}, [1, 2, 3]))
        self.hand_over(Event({"index": 22}, b"1234", "<f4", (1.0,)))
        self.hand_over(Reading("23"))
        self.hand_over(Event({"index": 24}))
        self.operator.process(Stop({"told": self.told}))

    def hand_over(self, message):
        try:
            self.operator.process(message)
        except EncodeError as error:
            self.told.append(str(error))

    def stop(self):
        pass


class Careful(Careless):
    def start(self):
        self.operator.process(Start({}))
        for index in range(25):
            self.operator.process(Event({"index": index}))
        self.operator.process(Stop({}))


class Strict(MessageParser):
    def parse(self, frames):
        word = bytes(frames[-1]).decode()
        if word == "broken":
            raise ValueError("it is broken")
        return Event({1: word} if word == "refused" else {"index": int(word)})


class Wrong(Operator):
    def process(self, message):
        if not isinstance(message, Event) or message.metadata["index"] % 5:
            return message
        return Event({"index": message.metadata["index"], 7: 8})
"""


def make(make_chain, *tables):
    chain = make_chain(*tables, keys='messages = ["careless:Reading"]')
    (chain.folder / "careless.py").write_text(STAGES)
    return chain


def test_a_listener_is_told_which_field_can_not_be_sent_and_goes_on(make_chain):
    chain = make(make_chain, listener("count", "careless:Careless"), publisher("write", ["count"]))
    assert chain.supervise().wait() == 0, chain.text()
    lines = chain.lines()
    assert indices(lines) == [*range(20), 24]
    assert lines[-1]["data"]["told"] == [
        "a Start can't be sent: data has the key 1: expected str, got int",
        "an Event can't be sent: metadata has the key 5: expected str, got int",
        "an Event can't be sent: payload is [1, 2, 3], a list: expected bytes, or an object with "
        "a buffer",
        "an Event can't be sent: shape is (1.0,): expected int, got float",
        "a Reading can't be sent: index is '23': expected int, got str",
    ]
    assert totals(lines)["quarantined"] == 0


def test_a_result_that_can_not_be_sent_counts_as_raised_on_its_message_alone(make_chain):
    chain = make(
        make_chain,
        listener("count", "careless:Careful"),
        operator("work", "careless:Wrong", ["count"]),
        publisher("write", ["work"]),
    )
    assert chain.supervise().wait() == 65, chain.text()
    assert indices(chain.lines()) == [index for index in range(25) if index % 5]
    found = json.loads(chain.command("quarantine", "list", chain.path, "--json"))
    assert [entry["sequence"] for entry in found] == [0, 5, 10, 15, 20]
    assert {entry["stage"] for entry in found} == {"work"}
    assert "metadata has the key 7: expected str, got int" in found[0]["reason"]


def test_what_others_send_and_can_not_be_taken_is_counted_in_status_and_at_the_end(
    make_chain, tmp_path
):
    address = f"ipc://{tmp_path}/in"
    chain = make(
        make_chain,
        listener(
            "outside",
            "arroyo.connectors.zeromq:ZMQListener",
            address=address,
            bind=True,
            parser="careless:Strict",
        ),
        publisher("write", ["outside"]),
    )
    supervisor = chain.supervise()
    with zmq.Context() as context, context.socket(zmq.PUSH) as sender:
        sender.connect(address)
        for word in ("0", "broken", "refused", "1", "broken", "refused", "2"):
            sender.send_string(word)
        chain.wait_for_lines(3)
    assert indices(chain.lines()) == [0, 1, 2]
    wait_until(lambda: chain.status()["outside.0"]["rejected"] == 4, chain.text)
    supervisor.send(signal.SIGTERM)
    assert supervisor.wait() == 0, chain.text()
    assert "4 rejected" in supervisor.text


def test_a_message_that_was_refused_to_a_listener_is_counted(make_chain):
    chain = make(make_chain, listener("count", "careless:Careless"), publisher("write", ["count"]))
    supervisor = chain.supervise()
    assert supervisor.wait() == 0, chain.text()
    assert "5 rejected" in supervisor.text
