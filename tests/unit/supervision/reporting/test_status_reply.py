import pytest
from supervised_histories import LINE, History, make_chain, name_of

from arroyo.supervision.decisions.ending import Ending, Evidence
from arroyo.supervision.decisions.events import State
from arroyo.supervision.decisions.health import Condition
from arroyo.supervision.decisions.replicas import Replicas
from arroyo.supervision.reporting.status_reply import REASON_CHARACTERS, status_reply


def test_a_living_replica_has_an_uptime_and_no_reason():
    replicas = Replicas(make_chain(LINE))
    replica = replicas[name_of("images.0")]
    replica.spawn(10.0)
    replica.pid = 7
    reply = status_reply(replicas, 12.5, {})
    assert reply["state"] is State.STARTING
    assert reply["restarting"] == []
    assert reply["replicas"][0] == {
        "replica": "images.0",
        "state": State.STARTING,
        "pid": 7,
        "restarts": 0,
        "uptime_s": 2.5,
        "stopped_by": None,
        "reason": None,
        "next_try_s": None,
    }


def test_a_chain_whose_sources_have_finished_drains_but_is_not_being_stopped():
    history = History({"images": (), "patterns": ("images",)}).all_ready()
    history.stopping("images.0")
    history.restart("patterns")
    replicas = history.machine.replicas
    reply = status_reply(replicas, history.now, {}, history.machine.restarting)
    assert (reply["state"], reply["stopping"]) == (State.DRAINING, False)
    assert reply["restarting"] == ["patterns.0"]
    history.stop()
    assert status_reply(replicas, history.now, {})["stopping"]


@pytest.mark.parametrize("condition", [each for each in Condition if each is not Condition.WELL])
def test_one_that_cannot_work_says_why(condition):
    history = History().all_ready()
    history.condition("integrate.0", condition, 10.0)
    replicas = history.machine.replicas
    (row,) = [
        each
        for each in status_reply(replicas, 12.5, {})["replicas"]
        if each["replica"] == "integrate.0"
    ]
    assert row["state"] is State.DEGRADED
    assert row["reason"] == replicas[name_of("integrate.0")].unwell != ""
    history.condition("integrate.0", Condition.WELL)
    assert all(each["reason"] is None for each in status_reply(replicas, 13.0, {})["replicas"])


def test_one_that_waits_for_its_restart_says_why_and_until_when():
    replicas = Replicas(make_chain(LINE))
    replica = replicas[name_of("images.0")]
    replica.state, replica.due_at = State.BACKOFF, 14.0
    replica.ending = Ending(1.0, 1, "", Evidence(said="x" * 1000))
    row = status_reply(replicas, 12.5, {})["replicas"][0]
    assert row["reason"].startswith("exited with 1 after 1 s: xxx")
    assert len(row["reason"]) == REASON_CHARACTERS
    assert (row["uptime_s"], row["next_try_s"]) == (None, 1.5)
