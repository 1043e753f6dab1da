from arroyo.supervision.live.restarts import judge_restarts, say_delays

FORMER = {"slow.1": 11, "slow.0": 10}


def reply(*rows, restarting=()):
    replicas = [{"reason": None, "next_try_s": None, **row} for row in rows]
    return {"replicas": replicas, "restarting": list(restarting)}


def row(name, pid, state="READY", **more):
    return {"replica": name, "pid": pid, "state": state, **more}


def test_what_runs_as_another_process_is_done_and_what_comes_later_is_waited_for():
    found = judge_restarts(
        FORMER, reply(row("slow.1", 21), row("slow.0", 10), restarting=["slow.0"])
    )
    assert (found.done, found.waiting) == (["slow.1"], ["slow.0"])


def test_what_starts_drains_or_is_tried_again_now_is_waited_for():
    for each in (
        row("slow.1", 21, "STARTING"),
        row("slow.1", 11, "DRAINING"),
        row("slow.1", None, "BACKOFF", next_try_s=3.0),
        row("slow.1", None, "FAILED", next_try_s=0),
    ):
        assert judge_restarts({"slow.1": 11}, reply(each)).waiting == ["slow.1"]


def test_where_one_has_failed_it_is_said_why_and_the_next_ones_are_as_they_were():
    failed = row("slow.1", None, "FAILED", reason="exited with 78", next_try_s=300.0)
    found = judge_restarts(FORMER, reply(failed, row("slow.0", 10)))
    assert found.failed == {"slow.1": "exited with 78"}
    assert (found.left, found.waiting) == (["slow.0"], [])


def test_what_was_down_before_has_no_former_process():
    assert judge_restarts({"slow.1": None}, reply(row("slow.1", 5))).done == ["slow.1"]


def test_what_has_finished_meanwhile_has_ended():
    assert judge_restarts({"slow.1": 11}, reply(row("slow.1", None, "STOPPED"))).ended == ["slow.1"]


def test_what_is_started_once_more_says_why():
    told = reply(row("slow.1", None, "BACKOFF", reason="was killed (SIGKILL)", next_try_s=2.0))
    assert say_delays(["slow.1"], told) == ["slow.1 was killed (SIGKILL); it is started once more"]
    assert say_delays(["slow.0"], told) == []
