"""Orders from the page, answered by a supervisor without processes."""

import json
import os

import pytest
from msgspec.structs import replace
from quarantine_entries import make_entry

from arroyo.codec import MessageCodec
from arroyo.config.folders import Folders
from arroyo.dashboard.page_orders import MESSAGES_MAX, PageOrders
from arroyo.errors import UnavailableError, UsageError
from arroyo.messages import Event
from arroyo.runner.quarantine.store import Quarantine
from arroyo.supervision.decisions.events import State
from arroyo.supervision.watching.chain_checks import Checked
from arroyo.web.http_request import Request


class Orders:
    def __init__(self, path):
        self.orders = PageOrders("chain", path, os.environ)

    def post(self, verb, body=None, **fields):
        body = json.dumps(fields).encode() if body is None else body
        request = Request("POST", f"/orders/{verb}", "localhost", "", body=body)
        return self.orders.find(request)()

    def get(self, path, **query):
        return self.orders.find(Request("GET", path, "localhost", "", query))()


@pytest.fixture
def orders(played):
    return Orders(played.path)


def test_a_stage_is_restarted(orders, played):
    assert orders.post("restart", stage="integrate") == {"said": "restarting integrate.0"}
    assert f"pid {os.getpid()}," in played.history.told[-1].by


@pytest.mark.parametrize("verb", ["restart", "scale", "set"])
def test_an_order_without_a_stage_is_not_for_all(orders, played, verb):
    with pytest.raises(UsageError, match="name the stage"):
        orders.post(verb, number=1, values={"level": "3"})
    assert played.history.signals == []


def test_processes_that_work_are_named(orders, played):
    played.history.stop_stage("integrate")
    played.end("integrate.0")
    assert orders.post("scale", stage="integrate", number=1) == {"said": "integrate: integrate.0"}
    assert played.history.state("integrate.0") is State.STARTING
    with pytest.raises(UsageError, match="1 replica in the chain file"):
        orders.post("scale", stage="integrate", number=2)


def test_parameters_are_typed_as_in_the_chain_file(orders):
    number = orders.post("set", stage="integrate", values={"level": "7", "mode": "slow"})["number"]
    shown = orders.get("/parameters", of="integrate")
    assert shown["outcomes"][str(number)] == ["", False]
    values = {name: each["value"] for name, each in shown["parameters"].items()}
    assert values == {"level": 7, "mode": "slow"}
    with pytest.raises(UsageError, match="expected a number"):
        orders.post("set", stage="integrate", values={"level": "high"})
    with pytest.raises(UsageError, match="there is no parameter ''"):
        orders.post("set", stage="integrate", values={"": "7"})


def test_a_plan_is_seen_before_it_is_carried_out(orders, played):
    chain = played.history.chain
    stage = replace(chain.stages["integrate"], backoff_s=3.0)
    played.checks.found = Checked(replace(chain, stages={**chain.stages, "integrate": stage}))
    plan = orders.post("plan")["plan"]
    told = orders.get("/reloading")
    assert told["lines"] == ["at once: stages.integrate.backoff_s"]
    assert (told["state"], told["may_go_on"], told["plan"]) == ("planned", True, plan)
    assert played.history.chain.stages["integrate"].backoff_s != 3.0
    orders.post("reload", plan=plan)
    assert orders.get("/reloading")["state"] == "reloaded"
    assert played.history.chain.stages["integrate"].backoff_s == 3.0


def test_mistakes_and_what_can_not_be_changed_go_no_further(orders, played):
    played.checks.found = Checked(None, ("chain.toml:3: wrong",))
    orders.post("plan")
    told = orders.get("/reloading")
    assert (told["lines"], told["may_go_on"]) == (["chain.toml:3: wrong"], False)

    chain = played.history.chain
    stage = replace(chain.stages["integrate"], replicas=3)
    played.checks.found = Checked(replace(chain, stages={**chain.stages, "integrate": stage}))
    orders.post("plan")
    told = orders.get("/reloading")
    assert "can't be changed while the chain runs" in told["lines"][-1]
    assert not told["may_go_on"]


@pytest.fixture
def store(played):
    folders = Folders.locate("chain", os.environ)
    store = Quarantine(folders.state.quarantine)
    for number in ("aa", "bb"):
        entry = make_entry(number, chain="chain", source="images.0", enters="integrate")
        store.put(entry, MessageCodec(()).pack(Event({}, b"")))
    note = played.run_directory.read_note()
    played.run_directory.write_note(note._replace(state=folders.state.path))
    return store


def test_messages_in_quarantine_are_sent_back_and_dropped(orders, store, played):
    said = orders.post("requeue", ids=["aa"])["said"]
    assert said == "aa (src.0/run/aa) goes back into integrate"
    assert orders.post("drop", ids=["bb"])["said"] == "bb (src.0/run/bb) is dropped"
    assert (store.entries(), [each.id for each in store.requeued()]) == ([], ["aa"])
    assert [event for event, *_ in played.noted] == ["requeue-ordered", "drop-ordered"]


def test_all_messages_of_a_stage_are_sent_back(orders, store, played):
    other = make_entry("cc", chain="chain", source="images.0", enters="out", stage="out")
    store.put(other, MessageCodec(()).pack(Event({}, b"")))
    store.put(
        make_entry("dd", chain="chain", source="gone.0"), MessageCodec(()).pack(Event({}, b""))
    )
    assert orders.get("/quarantined", of="work") == {"messages": 3}
    said = orders.post("requeue", stage="work")["said"].splitlines()
    assert said[0] == "2 of 3 go back"
    assert "stays in quarantine" in said[1]
    assert sorted(each.id for each in store.requeued()) == ["aa", "bb"]
    assert [each.id for each in store.entries()] == ["cc", "dd"]
    assert [event for event, *_ in played.noted] == ["requeue-ordered"]
    for verb, stage in (("requeue", "integrate"), ("drop", "out")):
        with pytest.raises(UsageError):
            orders.post(verb, stage=stage)


@pytest.mark.parametrize("verb", ["requeue", "drop"])
@pytest.mark.parametrize("ids", [[], ["../aa"], ["aa", "-x"], ["aa\0"], ["cc"], ["à"]])
def test_other_messages_are_refused_and_nothing_is_done(orders, store, played, verb, ids):
    with pytest.raises(UsageError):
        orders.post(verb, ids=ids)
    assert len(store.entries()) == 2
    assert played.noted == []


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"[]", b"{", b"\xff", b'{"stage": 1}', b'{"path": "x"}', b'{"number": -1}'),
        b'{"values": {"level": 3}}',
        json.dumps({"ids": ["aa"] * (MESSAGES_MAX + 1)}).encode(),
        b'{"stage":' * 2000,
    ],
)
def test_what_is_no_order_is_refused(orders, body):
    with pytest.raises(UsageError, match="this is no order"):
        orders.post("drop", body)


@pytest.mark.parametrize(("method", "path"), [("POST", "/orders/stop"), ("GET", "/orders/drop")])
def test_there_are_no_other_orders(orders, method, path):
    assert orders.orders.find(Request(method, path, "localhost", "")) is None


def test_a_chain_that_does_not_run_takes_none(tmp_path):
    with pytest.raises(UnavailableError, match="chain chain does not run"):
        Orders(tmp_path / "chain.toml").post("restart", stage="integrate")
